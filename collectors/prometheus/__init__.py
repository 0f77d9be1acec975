"""A Prometheus server as a source: the pages it scraped, read by the same tables as the pages themselves.

| module | does |
|---|---|
| `client` | queries on a daemon thread, with deadline, keys, own CA; the server's clock |
| `refusals` | what went wrong in words, with what the server said of it |
| `queries` | a table as PromQL |
| `scraped` | who is scraped: targets by all their labels, replicas, places |
| `pages` | answers back to the pages that were scraped, of one replica at a time |
| `targets` | each target a collector of its own, which joins the feed |
| `past` | the last two hours at the start |
| `window` | a window that nobody recorded, as a feed |
"""
