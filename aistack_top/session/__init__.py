"""Sessions on disk: recorded, opened, replayed, exported.

| module | does |
|---|---|
| `recorder` | writes ticks to a session, on a thread of its own |
| `ring` | the default recording of the last hours: record it, or attach to who does |
| `reader` | opens a session, whatever its state |
| `replay` | plays one as a `Feed` |
| `export` | writes its readings as one table |
| `compact` | makes blocks of segments, in a process of its own |
"""

import os

# Polars starts a thread for each processor and an arena for each thread; our tables are small, and the console
# must not weigh on the node it watches. Whoever sets the variable keeps the say.
os.environ.setdefault("POLARS_MAX_THREADS", "1")
