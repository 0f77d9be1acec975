"""Sources with a REST API: what they share, so that each is a table of requests, a parser and what to make of it.

| module | does |
|---|---|
| `collectors.rest.requests` | the table of requests, which is also the list of what may be sent |
| `collectors.rest.due` | when each request is due |
| `collectors.rest.client` | sends a request: login, conditional requests, pauses, redirects |
| `collectors.rest.login` | bearer, basic, header and form logins |
| `collectors.rest.refusals` | a refusal as one sentence with its fix |
| `collectors.rest.paging` | pages by token, offset or Link header, up to a number of pages |
| `collectors.rest.conditional` | ETag and Last-Modified of earlier answers |
| `collectors.rest.collector` | one run: ask what is due, make one batch of it |

`collectors.mlflow` is the model; docs/decisions/0010-rest-sources.md says why it is so.
"""
