"""Which layer, since when, why, and what it was not.

| module | is |
|---|---|
| `model` | what an incident is: the values that reach the screen, the disk and the command line |
| `document` | an incident as JSON, and back |
| `book` | every incident known, as each was known at a moment |
"""
