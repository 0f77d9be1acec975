"""A Prometheus server as a source: the pages it scraped, read by the same tables as the pages themselves.

| module | does |
|---|---|
| `client` | queries on a daemon thread, with deadline, keys, own CA; what went wrong in words |
| `queries` | a table as PromQL |
| `pages` | answers back to the pages that were scraped |
| `targets` | who is scraped: each target a collector of its own, which joins the feed |
| `past` | the last two hours at the start |
| `window` | a window that nobody recorded, as a feed |
"""
