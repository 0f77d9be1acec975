import pytest

from collectors.runtime.addresses import login_of, server_url, without_login
from collectors.runtime.auth import login_headers


@pytest.mark.parametrize(
    ("written", "used"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000/metrics", "http://127.0.0.1:8000"),
        (" http://127.0.0.1:8000/metrics/ ", "http://127.0.0.1:8000"),
        ("http://gateway/a//metrics?x=1#top", "http://gateway/a"),
        ("http://gateway/our-metrics", "http://gateway/our-metrics"),
        ("http://server:8000/?x=1", "http://server:8000"),
        ("HTTP://Server:8000", "http://server:8000"),
        ("http://[::1]:8000/metrics", "http://[::1]:8000"),
        ("https://Me:p%40W@Server/metrics", "https://Me:p%40W@server"),
        ("no address", "no address"),
        ("http://[::1", "http://[::1"),
    ],
)
def test_an_address_has_one_form_however_it_is_written(written, used):
    assert server_url(written) == used
    assert server_url(used) == used


def test_a_login_is_sent_and_never_shown():
    url = "http://viewer:s3cr%40t@server:9090/x"
    assert without_login(url) == "http://server:9090/x"
    assert without_login("viewer:s3cret@server:9090") == "server:9090"
    assert login_of(url) == ("viewer", "s3cr@t")
    assert login_headers(url) == {"authorization": "Basic dmlld2VyOnMzY3JAdA=="}
    assert login_headers("http://server") == {}
