"""Contacts and the policy of reminders as the API has them."""

from __future__ import annotations

import pytest

from chalicelib.ports import NotifyError
from tests.support.service import pages

URL = "slack://T1/A1/s3cr3t-t0ken"
MAIL = {"kind": "email", "address": "ops@example.com"}
HOOK = {"kind": "apprise", "url": URL}
CONTACT = {
    "name": "Ops",
    "channels": [MAIL, HOOK],
    "time_zone": "Europe/Berlin",
    "hours": {"from": "09:00", "to": "17:00"},
}


@pytest.fixture
def made(example):
    answer = example.admin.post("/v1/contacts", CONTACT)
    assert answer.status == 201, answer.text
    return answer.json


def place(made):
    return f"/v1/contacts/{made['id']}"


def test_a_contact_is_shown_as_it_was_made_but_for_its_secret_address(example, made):
    mail, hook = made["channels"]
    quiet = {"last_sent_at": None, "last_failed_at": None, "problem": None}
    assert mail == {"id": mail["id"], "kind": "email", "address": "ops@example.com", "scheme": None} | quiet
    assert hook == {"id": hook["id"], "kind": "apprise", "address": None, "scheme": "slack"} | quiet
    assert {name: made[name] for name in ("name", "time_zone", "hours")} == {
        name: CONTACT[name] for name in ("name", "time_zone", "hours")
    }
    assert example.viewer.get("/v1/contacts").json == {"items": [made], "next_cursor": None}


def test_what_may_be_left_out_is_as_usual(example):
    made = example.admin.post("/v1/contacts", {"name": "Ops", "channels": [MAIL]}).json
    assert (made["time_zone"], made["hours"]) == ("UTC", None)


def test_every_problem_is_told_at_once_with_what_to_do(example):
    channels = [{"kind": "email", "address": "ops"}, {"kind": "apprise", "url": "nonsense"}, {"kind": "apprise"}]
    wrong = {"name": "Ops", "channels": channels, "time_zone": "Mars", "hours": {"from": "9", "to": "24:00"}}
    answer = example.admin.post("/v1/contacts", wrong)
    assert (answer.status, answer.code) == (422, "ContactFieldIncorrect")
    findings = answer.json["error"]["findings"]
    params = ["channels[0].address", "channels[1].url", "channels[2].url", "time_zone", "hours.from", "hours.to"]
    assert [f["param"] for f in findings] == params
    assert all(f["hint"] and f["severity"] == "error" for f in findings)
    assert example.viewer.get("/v1/contacts").json["items"] == []


@pytest.mark.parametrize(
    "body",
    [
        {"name": "Ops"},
        {"channels": [MAIL]},
        {"name": "Ops", "channels": [MAIL | {"url": URL}]},
        {"name": "Ops", "channels": [HOOK | {"address": "ops@example.com"}]},
        {"name": "Ops", "channels": [{"kind": "fax", "address": "1"}]},
        {"name": "Ops", "channels": [{"address": "ops@example.com"}]},
        {"name": "Ops", "channels": MAIL},
        {"name": "Ops", "channels": [MAIL], "hours": {"from": "09:00"}},
    ],
)
def test_what_has_not_the_form_of_a_contact_is_refused(example, body):
    answer = example.admin.post("/v1/contacts", body)
    assert (answer.status, answer.code) == (400, "InvalidRequest")


def test_a_change_leaves_what_is_left_out(example, made):
    changed = example.admin.patch(place(made), {"name": "New", "hours": None})
    assert changed.status == 200
    assert changed.json == made | {"name": "New", "hours": None, "updated_at": changed.json["updated_at"]}
    moved = example.admin.patch(place(made), {"time_zone": "UTC", "hours": {"from": "22:00", "to": "06:00"}}).json
    assert (moved["time_zone"], moved["hours"]) == ("UTC", {"from": "22:00", "to": "06:00"})
    assert moved["channels"] == made["channels"]


def test_channels_are_replaced_whole_and_stay_by_their_ids(services, example, made):
    hook = {"kind": "apprise", "id": made["channels"][1]["id"]}
    changed = example.admin.patch(place(made), {"channels": [hook, {"kind": "email", "address": "new@example.com"}]})
    assert [c["address"] or c["scheme"] for c in changed.json["channels"]] == ["slack", "new@example.com"]
    example.admin.post(f"{place(made)}/test")
    assert [address for address, _ in services.notifiers["apprise"].sent] == [URL]
    answer = example.admin.patch(place(made), {"channels": [hook | {"kind": "email"}]})
    assert [f["param"] for f in answer.json["error"]["findings"]] == ["channels[0].id"]


def test_a_deleted_contact_is_gone(example, made):
    assert example.admin.delete(place(made)).status == 204
    assert example.admin.delete(place(made)).status == 404
    assert example.viewer.get("/v1/contacts").json["items"] == []


def test_an_eleventh_contact_is_refused_with_what_to_do(example):
    answers = [example.admin.post("/v1/contacts", {"name": "Ops", "channels": [MAIL]}) for _ in range(11)]
    assert [a.status for a in answers] == [201] * 10 + [409]
    assert answers[-1].code == "TooManyContacts"
    assert answers[-1].json["error"]["hint"]


def test_contacts_are_paged_in_the_order_in_which_they_were_made(example):
    made = [example.admin.post("/v1/contacts", {"name": f"Ops {n}", "channels": [MAIL]}).json for n in range(5)]
    found = pages(example.viewer, "/v1/contacts", limit=2)
    assert [len(page) for page in found] == [2, 2, 1]
    assert [one for page in found for one in page] == made


def test_a_test_message_says_what_came_of_each_channel_and_the_contact_shows_it(services, example, made):
    services.notifiers["email"].failing["ops@example.com"] = NotifyError("It was refused.", permanent=True)
    answer = example.admin.post(f"{place(made)}/test")
    assert answer.status == 200
    assert answer.json["contact_id"] == made["id"]
    shown = [(c["kind"], c["outcome"], c["problem"], c["permanent"]) for c in answer.json["channels"]]
    assert shown == [("email", "failed", "It was refused.", True), ("apprise", "sent", None, False)]
    mail, hook = example.viewer.get("/v1/contacts").json["items"][0]["channels"]
    assert (mail["problem"], mail["last_sent_at"], hook["problem"]) == ("It was refused.", None, None)
    assert mail["last_failed_at"] == hook["last_sent_at"] == services.clock().isoformat().replace("+00:00", "Z")


def test_a_test_message_is_repeated_only_without_its_idempotency_key(services, example, made):
    for _ in range(2):
        answer = example.admin.post(f"{place(made)}/test", headers={"Idempotency-Key": "once"})
        assert answer.status == 200
    assert len(services.notifiers["email"].sent) == 1


def test_the_policy_is_the_usual_one_until_it_is_set(example):
    usual = {"days": [30, 14, 7, 3, 1, 0, -1], "fractions": [3, 6, 12, 24], "renew_redeploys": False}
    assert example.viewer.get("/v1/reminder-policy").json == usual
    wanted = {"days": [7, 60], "fractions": [], "renew_redeploys": True}
    kept = wanted | {"days": [60, 7]}
    assert example.admin.put("/v1/reminder-policy", wanted).json == kept
    assert example.viewer.get("/v1/reminder-policy").json == kept
    assert example.admin.put("/v1/reminder-policy", {}).json == usual


def test_the_policy_of_another_account_is_its_own(example, other):
    example.admin.put("/v1/reminder-policy", {"days": [5]})
    assert other.viewer.get("/v1/reminder-policy").json["days"][0] == 30


def test_a_policy_beyond_its_bounds_is_refused(example):
    answer = example.admin.put("/v1/reminder-policy", {"days": [400, -40], "fractions": [1]})
    assert (answer.status, answer.code) == (422, "ContactFieldIncorrect")
    assert [f["param"] for f in answer.json["error"]["findings"]] == ["days", "days", "fractions"]
    assert example.admin.put("/v1/reminder-policy", {"days": ["soon"]}).status == 400
