"""The HTTP client of the sources: proxies by `collectors.runtime.proxies`, one TLS context for all."""

from typing import Any

import httpx

from collectors.runtime.proxies import Proxies


class RoutedTransport(httpx.AsyncBaseTransport):
    """Sends each request directly, or through the proxy that is set for its address; redirects are routed anew."""

    def __init__(self, proxies: Proxies, limits: httpx.Limits) -> None:
        self._proxies = proxies
        self._limits = limits
        self._tls = httpx.create_ssl_context()
        self._through: dict[str, httpx.AsyncHTTPTransport] = {}
        self.direct = httpx.AsyncHTTPTransport(verify=self._tls, limits=limits)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.AsyncBaseTransport.handle_async_request`.

        Raises:
            SourceError: the proxy that is set for the address cannot be used.

        """
        return await self._transport(self._proxies.proxy_for(str(request.url))).handle_async_request(request)

    async def aclose(self) -> None:
        """Close all connections."""
        for transport in (self.direct, *self._through.values()):
            await transport.aclose()

    def _transport(self, proxy: str | None) -> httpx.AsyncHTTPTransport:
        if proxy is None:
            return self.direct
        if proxy not in self._through:
            self._through[proxy] = httpx.AsyncHTTPTransport(verify=self._tls, limits=self._limits, proxy=proxy)
        return self._through[proxy]


def routed(proxies: Proxies | None = None, *, max_connections: int = 64, keepalive_s: float = 30.0) -> RoutedTransport:
    """Return the transport that the environment's proxies, or those given, ask for."""
    return RoutedTransport(
        proxies or Proxies(), httpx.Limits(max_connections=max_connections, keepalive_expiry=keepalive_s)
    )


def client(transport: httpx.AsyncBaseTransport | None = None, **more: Any) -> httpx.AsyncClient:  # noqa: ANN401
    """Return a client that follows few redirects and says who asks; without a transport, over `routed`."""
    return httpx.AsyncClient(
        transport=transport or routed(),
        headers={"user-agent": "aistack-top"},
        follow_redirects=True,
        max_redirects=3,
        **more,
    )
