"""Which Apprise URLs are taken; nothing is sent here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.notifiers.apprise import MAX_URL, AppriseNotifier

SECRET = "s3cr3ts3cr3ts3cr3ts3cr3t"
STRICT, LENIENT = AppriseNotifier(private=False), AppriseNotifier(private=True)
TAKEN = {
    "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general": "slack://",
    "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ": "slack://",
    "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js": "discord://",
    "https://discord.com/api/webhooks/4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js": "discord://",
    "workflows://prod.example.com:443/643e69f7/sig": "workflows://",
    f"dingtalk://{SECRET}": "dingtalk://",
    f"feishu://{SECRET}": "feishu://",
    "wecombot://12345678-1234-1234-1234-123456789012": "wecombot://",
    "tgram://123456789:abcdefg_hijklmnop/12315544/": "tgram://",
    "pagerduty://A1BRTD4JD@TIiajkdnlazkcOXrIdevi7FQ": "pagerduty://",
    f"JSONS://user:{SECRET}@hooks.example.com/x": "jsons://",
    "ntfys://topic@ntfy.example.com": "ntfys://",
}


@pytest.mark.parametrize("url", TAKEN)
def test_services_that_are_sent_to_over_https_are_taken_and_shown_by_their_scheme(url):
    assert STRICT.check(url) is None
    assert STRICT.shown(url) == TAKEN[url]


@pytest.mark.parametrize(
    "url",
    [f"json://hooks.example.com/{SECRET}", f"mailtos://me:{SECRET}@gmail.com", f"rsyslog://{SECRET}", "syslog://",
     f"ircs://{SECRET}@irc.example.com/#x", f"ntfy://{SECRET}", "aprs://DF1JSL:12345@DF1ABC", "pushme://abcdefghijklmnop",
     f"gotify://hooks.example.com/{SECRET}"],
)  # fmt: skip
def test_what_is_not_sent_over_https_is_refused(url):
    problem = STRICT.check(url)
    assert "does not send over HTTPS" in problem.message
    assert SECRET not in problem.message + problem.hint


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", SECRET, f"file:///etc/{SECRET}", f"https://example.com/{SECRET}", "jsons://", f"nosuch://{SECRET}",
     "windows://", "dbus://", "macosx://", f"jsons://{SECRET} x", "jsons://[::1/x", "slack://", "\0", "\ud800://x"],
)  # fmt: skip
def test_what_apprise_cannot_read_is_refused(url):
    problem = STRICT.check(url)
    assert problem.message == "Apprise cannot read this URL."
    assert SECRET not in problem.hint


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:9001", "[::1]:80", "10.1.2.3", "169.254.169.254", "[fd00:ec2::254]", "192.168.0.1",
     "localhost", "LOCALHOST", "a.localhost", "localhost.", "db.internal", "printer.local", "0.0.0.1"],
)  # fmt: skip
def test_hosts_that_are_private_by_what_they_are_called_are_refused(host):
    assert STRICT.check(f"jsons://{host}/{SECRET}").message == "The host of this URL is a private one."
    assert LENIENT.check(f"json://{host}/{SECRET}") is None


@pytest.mark.parametrize("parameter", ["template", "TEMPLATE", "keyfile", "subfile", "attach", ":template"])
def test_a_url_that_names_a_file_is_refused(parameter):
    url = f"discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js?{parameter}=/proc/self/environ"
    assert "names a file" in STRICT.check(url).message


def test_a_url_has_its_limit():
    assert STRICT.check("jsons://example.com/" + "x" * (MAX_URL - 20)) is None
    assert "at most 2048" in STRICT.check("jsons://example.com/" + "x" * (MAX_URL - 19)).message


schemes = st.sampled_from(
    ["jsons", "slack", "discord", "tgram", "matrixs", "fcm", "vapid", "twilio", "file", "json", ""]
)


@given(st.text(max_size=60) | st.builds("{}://{}".format, schemes, st.text(max_size=40)))
def test_any_text_at_all_is_taken_or_refused_in_words(text):
    problem = STRICT.check(text)
    assert problem is None or (problem.message and problem.hint)
    assert STRICT.shown(text).endswith("://") or STRICT.shown(text) == ""
