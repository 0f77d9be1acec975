"""A model of a serving node, for drills, demonstrations and the tests of diagnosis; see ``docs/simulator.md``.

| module | what it models |
|---|---|
| `scenario`, `faults`, `servicefaults` | what goes wrong, as data, and how it acts on the rest |
| `node` | everything together, advanced to a time |
| `traffic`, `arrivals` | who asks what, when |
| `gateway`, `services`, `calls` | rails, retrieval, routing, retries; the trace store |
| `engine`, `batch`, `kvcache`, `steptime`, `enginemetrics`, `histogram` | vLLM |
| `gpu`, `host`, `hardware` | what it runs on |
| `request`, `agenda` | what all of them pass around |

It knows no clock, no format and no network: all chance comes from one seed, all time from `Node.advance`.
"""
