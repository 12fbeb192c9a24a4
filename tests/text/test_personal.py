"""What is masked, and what looks like it and stays."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_research.text.personal import (
    MaskCreditCards,
    MaskIpAddresses,
    MaskPassports,
    MaskPhoneNumbers,
    MaskResidentIds,
    MaskSocialSecurityNumbers,
)

RULES = {
    "phone": MaskPhoneNumbers("#"),
    "ip": MaskIpAddresses("#"),
    "card": MaskCreditCards("#"),
    "ssn": MaskSocialSecurityNumbers("#"),
    "id": MaskResidentIds("#"),
    "passport": MaskPassports("#"),
}
POSITIVE = {
    "phone": [
        "+44 20 7946 0958",
        "+1 (212) 555-0123",
        "+86 138 0013 8000",
        "+8613800138000",
        "+49-30-901820",
        "(212) 555-0123",
        "212-555-0123",
        "212.555.0123",
        "1-800-555-0199",
        "13800138000",
        "138-0013-8000",
        "138 0013 8000",
        "010-62791234",
        "(021)62791234",
        "（021）62791234",
        "0571-88886666",
        "0571 8888 6666",
    ],
    "ip": [
        "192.168.0.1",
        "255.255.255.255",
        "8.8.8.8",
        "2001:db8::1",
        "2001:0db8:85a3:0000:0000:8a2e:0370:7334",
        "fe80::1ff:fe23:4567:890a",
        "::ffff:192.0.2.1",
    ],
    # The test numbers that card networks and payment services publish.
    "card": [
        "4111111111111111",
        "4111 1111 1111 1111",
        "5555-5555-5555-4444",
        "378282246310005",
        "6011111111111117",
        "3530111333300000",
    ],
    "ssn": ["078-05-1120", "219-09-9999"],
    # The examples of GB 11643.
    "id": ["11010519491231002X", "11010519491231002x", "440524188001010014"],
    "passport": ["E12345678", "G12345678", "EA1234567"],
}
NEGATIVE = [
    "2024-01-15, 15.01.2024, 01/15/2024, 20240115 and 2024-11-24 10:30:59",
    "versions 1.2.3, v1.2.3.4, version 10.0.0.1, 1.2.3.4.5 and Chrome/120.0.6099.109",
    "$1,234.56, €1.234,56, ¥13800138000, 12,000,000 and 99.95",
    "ISBN 978-0-306-40615-7, 9780306406157, 0-306-40615-2, 030640615X, ISSN 2049-3630",
    "pages 123-456, 555-0123, 1914-1918, 5,000-6,000",
    "3.14159265358979, 1e-10, 0x7fff, 1234567890, 1732406400, 1732406400123",
    "C++11, a+b, std::vector, a::b, 12:30:45, 10:30, 00:1B:44:11:3A:B7",
    "999.1.1.1 256.0.0.1 1.2.3 4111111111111112 110105194912310021 000-12-3456 987-65-4321",
    "UUID 123e4567-e89b-12d3-a456-426614174000, order E1234 and AB-123456-7",
    "0 1 2 3 4 5 6 7 8 9 10 11 12, 2012 2013 2014 2015 2016",
]
AROUND = ["{}", "at {}.", "({}),", "电话{}。", "x: {}\n", "<{}>"]


@pytest.mark.parametrize(("kind", "text"), [(k, t) for k, texts in POSITIVE.items() for t in texts])
def test_what_is_meant_is_masked_whole(kind, text):
    for around in AROUND:
        assert RULES[kind](around.format(text)) == around.format("#")


@pytest.mark.parametrize("text", NEGATIVE)
@pytest.mark.parametrize("kind", RULES)
def test_what_looks_like_it_stays(kind, text):
    assert RULES[kind](text) == text


@pytest.mark.parametrize("kind", ["card", "id"])
def test_a_wrong_digit_is_noticed(kind):
    for text in POSITIVE[kind]:
        wrong = text[:-1] + ("1" if text[-1] != "1" else "2")
        assert RULES[kind](wrong) == wrong


def test_passports_of_others_need_the_word():
    rule = RULES["passport"]
    assert rule("Passport No. 512345678, passport: AB1234567") == "Passport No. #, passport: #"
    assert rule("护照号码：123456789") == "护照号码：#"
    assert rule("number 512345678, AB1234567") == "number 512345678, AB1234567"


def test_a_mask_is_taken_literally():
    assert MaskPhoneNumbers(r"\1")("13800138000") == r"\1"
    assert MaskPassports(r"\1")("E12345678") == r"\1"


@given(st.text(alphabet="0123456789 -.+():：abcdefEGX\n"))
def test_masking_twice_changes_nothing_more(text):
    for rule in RULES.values():
        assert rule(rule(text)).count("#") >= rule(text).count("#")


UNITS = [
    "1",
    "1 ",
    "1-",
    "+1",
    "(212) ",
    "1.",
    "a:",
    ":",
    "0:",
    "passport ",
    "护照",
    "138",
    "4111 ",
]


@pytest.mark.parametrize("unit", UNITS)
def test_a_text_made_to_be_slow_is_not(unit):
    start = time.process_time()
    for rule in RULES.values():
        rule(unit * (200_000 // len(unit)))
    assert time.process_time() - start < 4
