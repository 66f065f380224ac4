"""The kit sees what is wrong: every check has a plugin that is wrong in just that respect, and fails on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from paycore.testing.conformance import Case, ChannelConformance
from paycore.testing.conformance.stand import Stand
from paycore_sandbox import SANDBOX
from tests.conformance import planted

Make = Callable[[], Case]

CAUGHT: dict[str, list[Make]] = {
    # identity
    "test_the_description_holds_together": [planted.unversioned],
    "test_every_declared_verb_is_there_and_no_other": [planted.undeclared_verb, planted.missing_verb],
    "test_people_can_read_its_names": [planted.nameless],
    "test_its_words_are_words_of_the_house": [planted.foreign_words],
    "test_an_account_opens_with_the_simulators_settings": [lambda: planted.described(settings=SANDBOX.settings[:-1])],
    "test_what_sounds_secret_is_a_secret": [planted.open_secret],
    "test_another_merchant_is_another_account": [planted.one_for_all],
    "test_new_keys_are_the_same_merchants": [planted.named_after_its_key],
    "test_an_account_whose_keys_only_verify_opens_all_the_same": [planted.needs_a_signer],
    "test_settings_that_cannot_be_right_are_refused_in_words": [planted.crashes_on_a_bad_key],
    # no I/O in verbs
    "test_every_verb_is_a_conversation": [planted.no_conversation],
    "test_no_verb_does_anything_but_think": [
        planted.opens_a_socket,
        planted.looks_at_the_clock,
        planted.naps,
        planted.throws_dice,
    ],
    "test_reading_a_notice_is_only_thinking": [planted.reads_notices_by_the_hosts_clock],
    "test_the_same_question_is_the_same_request": [planted.throws_dice, planted.counts_its_calls],
    # exact money
    "test_what_is_asked_for_is_asked_for_exactly": [
        planted.rounds_to_ten,
        planted.counts_every_currency_in_cents,
        planted.writes_floats,
    ],
    "test_what_was_paid_is_read_exactly": [planted.loses_cents_of_what_was_paid],
    "test_what_is_given_back_is_exact": [planted.gives_all_back],
    "test_a_store_purchase_names_product_quantity_and_token": [planted.forgets_the_token],
    # sameness
    "test_asking_twice_is_one_trade": [planted.a_number_for_each_try, planted.the_expiry_moves],
    "test_a_lost_answer_is_found_again_under_the_same_number": [planted.the_expiry_moves],
    "test_paying_late_asks_for_the_same_expiry": [planted.no_expiry],
    # replies
    "test_money_that_was_taken_is_found": [planted.refunded_by_the_way, planted.a_mere_hint],
    "test_what_nobody_paid_waits": [planted.paid_before_it_is],
    "test_what_the_bank_refused_is_declined_or_goes_on_waiting": [planted.declines_without_a_word],
    "test_a_number_that_it_never_heard_is_not_found_and_nothing_more": [planted.closed_when_not_found],
    "test_a_refund_that_it_never_heard_of_is_not_found": [planted.never_heard_is_refunded],
    "test_rubbish_is_never_believed": [
        planted.paid_unless_told_otherwise,
        planted.any_200_is_a_refund,
        planted.a_server_error_is_a_failure,
    ],
    "test_an_answer_that_was_tampered_with_is_never_believed": [planted.believes_unsigned_answers],
    "test_an_answer_without_its_signature_is_never_believed": [planted.believes_unsigned_answers],
    "test_an_answer_about_another_payment_is_never_believed": [planted.whoever_is_answered_about],
    "test_a_wrong_amount_is_told_as_it_is": [lambda: planted.lies_about("amount_minor")],
    "test_a_wrong_currency_is_told_as_it_is": [lambda: planted.lies_about("currency")],
    "test_a_wrong_merchant_is_told_as_it_is": [lambda: planted.lies_about("merchant")],
    # notices
    "test_a_genuine_notice_says_what_was_paid": [planted.is_never_told_that_it_was_paid],
    "test_the_same_notice_again_says_the_same": [planted.never_says_the_same_twice],
    "test_the_acknowledgement_is_what_the_channel_wants_to_read": [planted.thanks_in_its_own_words],
    "test_a_refusal_is_never_taken_for_an_acknowledgement": [planted.refuses_politely],
    "test_every_byte_of_the_body_counts": [planted.verifies_no_notice],
    "test_every_character_of_signature_and_timestamp_counts": [planted.verifies_no_notice, planted.a_lax_signature],
    "test_a_free_header_changes_nothing": [planted.a_free_header_that_is_not, planted.verifies_no_notice],
    "test_cut_doubled_and_empty_bodies_are_refused": [planted.crashes_on_rubbish, planted.verifies_what_it_parsed],
    "test_duplicated_parameters_are_refused": [planted.verifies_what_it_parsed],
    "test_another_merchants_notice_is_refused_or_told_as_anothers": [planted.takes_anybodys_notice_for_its_own],
    "test_a_notice_of_another_environment_is_refused": [planted.verifies_no_notice, planted.one_key_for_every_world],
    "test_whoever_knows_the_protocol_can_forge_nothing": [
        planted.any_key_will_do,
        planted.ignores_the_time,
        planted.forges_nothing,
    ],
    "test_an_old_notice_is_refused_where_there_is_a_window": [
        planted.ignores_the_time,
        lambda: planted.described(notice_window_seconds=None),
    ],
    "test_a_notice_that_tells_something_else_says_so": [
        lambda: planted.notices_lie_about("amount_minor"),
        lambda: planted.notices_lie_about("currency"),
        lambda: planted.notices_lie_about("merchant"),
    ],
    "test_old_notices_verify_after_a_rotation": [planted.only_the_newest_key],
    "test_new_notices_verify_after_a_rotation": [planted.only_the_oldest_key],
    # closing
    "test_a_closed_trade_cannot_be_paid": [planted.closes_nothing],
    "test_closing_twice_is_closing_once": [planted.forgets_that_it_closed],
    "test_a_close_of_a_paid_trade_says_that_it_is_paid": [
        planted.closed_though_paid,
        planted.gives_back_when_it_closes,
    ],
    "test_a_close_of_what_it_never_heard_is_no_proof": [planted.closes_nothing],
    # refunds
    "test_a_refund_is_done_and_shows_in_the_channels_books": [planted.a_refund_for_each_try],
    "test_one_number_is_one_refund": [planted.a_refund_for_each_try],
    "test_parts_are_given_back_where_they_are_declared": [planted.tells_the_sum_of_refunds, planted.gives_all_back],
    "test_more_than_was_paid_is_not_given_back": [planted.always_refunded],
    "test_an_unpaid_payment_gives_nothing_back": [planted.always_refunded],
    "test_paid_then_refunded_is_paid_with_its_refunds": [planted.refunded_is_closed],
    "test_a_refund_in_the_channels_console_is_told": [planted.hides_the_consoles_refunds],
    # secrets
    "test_no_secret_is_in_any_repr": [planted.prints_its_key],
    "test_no_secret_is_in_any_log": [planted.logs_its_key],
    "test_no_secret_leaves_in_the_open": [planted.sends_its_key],
    "test_no_secret_is_in_any_error": [planted.repeats_settings_in_errors],
    # actions
    "test_every_plan_can_be_run": [planted.wrong_types_for_the_sdk],
    "test_steps_are_those_that_the_method_declares": [planted.undeclared_steps],
    "test_every_target_finds_a_step": [planted.nothing_for_the_target],
    "test_no_step_outlives_its_payment": [planted.outlives_its_payment],
    "test_the_device_takes_what_it_is_given": [planted.unsigned_orders],
    "test_a_vendors_sdk_is_described": [planted.undescribed_sdk],
    # what only some have
    "test_a_statement_holds_what_moved": [planted.statements_of_nothing, planted.statements_without_signs],
    "test_an_empty_day_has_no_lines": [planted.cries_wolf_on_empty_days],
    "test_a_statement_that_is_cut_short_is_none": [planted.statements_of_nothing],
    "test_a_refresh_fetches_and_the_account_opens_with_it": [planted.does_not_open_with_what_it_fetched],
    "test_rubbish_is_no_refresh": [planted.refreshed_by_rubbish],
    "test_an_operation_answers_for_itself": [planted.operations_always_work],
    "test_evidence_proves_what_was_bought": [planted.a_purchase_without_its_transaction],
    "test_evidence_with_one_character_changed_proves_nothing": [planted.confirms_anything],
    "test_another_merchants_evidence_proves_nothing_of_ours": [planted.confirms_for_whoever_asks],
    # through the engine
    "test_every_method_is_offered": [planted.never_in_time],
    "test_what_is_not_declared_is_refused": [planted.boasts],
    "test_a_paid_order_is_refunded_where_that_is_declared_and_only_there": [planted.is_never_told_that_it_was_paid],
    "test_after_every_storm_the_books_agree": [planted.loses_money_in_a_storm],
}
PAIRS = [(check, make) for check, makes in CAUGHT.items() for make in makes]


def run(check: str, case: Case) -> None:
    """Do one check of the kit, as pytest would."""
    suite: Any = ChannelConformance()
    getattr(suite, check)(Stand(case))


def checks() -> set[str]:
    return {name for name in dir(ChannelConformance) if name.startswith("test_")}


def test_every_check_has_a_plugin_that_fails_it() -> None:
    assert set(CAUGHT) == checks()


@pytest.mark.parametrize(("check", "make"), PAIRS, ids=[f"{check}-{n}" for n, (check, _) in enumerate(PAIRS)])
def test_the_kit_catches(check: str, make: Make) -> None:
    case = make()
    with pytest.raises(Exception) as caught:
        run(check, case)
    assert not isinstance(caught.value, AttributeError | NameError | TypeError), "the planted plugin is itself broken"


@pytest.mark.parametrize("check", sorted(checks()))
def test_a_good_plugin_that_refreshes_keeps_the_kit(check: str) -> None:
    run(check, planted.refreshing())


@pytest.mark.parametrize("check", sorted(checks()))
def test_a_plugin_that_can_only_be_paid_and_asked_keeps_the_kit(check: str) -> None:
    """What is not declared turns its checks round; nothing of the kit needs it."""
    run(check, planted.modest())
