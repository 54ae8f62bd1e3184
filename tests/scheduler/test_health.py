from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.gpus.xid import Xid
from appliance.jobs.box import LEFT_OVER, LOST, XID, Quarantine
from appliance.scheduler.health import Change, Condition, examine

pytestmark = pytest.mark.unit

NOW = 1_800_000_000.0
UP = Condition("GPU-0", 0, up_for_s=5.0)
DOWN = Condition("GPU-0", 0, up_for_s=None, error="GPU 0 is lost.")


def entry(cause: str, boot_id: str = "boot-1", by: str | None = None) -> Quarantine:
    return Quarantine("GPU-0", cause, "a reason", boot_id, NOW - 60, by)


def examined(condition: Condition, *known: Quarantine) -> Change:
    return examine([condition], known, "boot-1", NOW)


def test_a_card_that_is_well_stays_in_use() -> None:
    assert examined(UP) == Change()


def test_a_card_that_does_not_answer_comes_into_quarantine_once() -> None:
    (added,) = examined(DOWN).quarantined
    assert added == Quarantine("GPU-0", LOST, "GPU 0 is lost.", "boot-1", NOW)
    assert examined(DOWN, added) == Change()


def test_a_lost_card_comes_back_when_it_has_answered_for_a_while() -> None:
    assert examined(UP, entry(LOST)) == Change()
    assert examined(replace(UP, up_for_s=30.0), entry(LOST)).released == ["GPU-0"]


def test_a_card_that_is_held_comes_back_when_it_is_free() -> None:
    assert examined(replace(UP, is_free=False), entry(LEFT_OVER)) == Change()
    assert examined(UP, entry(LEFT_OVER)).released == ["GPU-0"]
    assert examined(DOWN, entry(LEFT_OVER)) == Change()


def test_a_critical_fault_puts_a_card_into_quarantine_with_the_next_step() -> None:
    (added,) = examined(replace(UP, xid=Xid("GPU-0", 79, NOW))).quarantined
    assert added.cause == XID
    assert "Xid 79 (GPU has fallen off the bus)" in added.reason
    assert "spud gpus release 0" in added.reason


def test_after_a_critical_fault_only_a_reboot_helps() -> None:
    well = replace(UP, up_for_s=1e6)
    assert examined(well, entry(XID)) == Change()
    assert examined(well, entry(XID, boot_id="boot-0")).released == ["GPU-0"]


def test_a_critical_fault_weighs_more_than_being_lost() -> None:
    """Else a card that fell off the bus and came back would be used again."""
    lost_with_fault = replace(DOWN, xid=Xid("GPU-0", 79, NOW))
    assert [added.cause for added in examined(lost_with_fault, entry(LOST)).quarantined] == [XID]
    assert examined(lost_with_fault, entry(XID)) == Change()


def test_an_admin_lets_a_card_go() -> None:
    assert examined(UP, entry(XID, by="ada")).released == ["GPU-0"]


def test_a_card_that_an_admin_lets_go_and_that_is_gone_is_forgotten() -> None:
    change = examined(DOWN, entry(LOST, by="ada"))
    assert (change.released, change.forgotten, change.quarantined) == (["GPU-0"], ["GPU-0"], [])
