"""Words, marks and units of error rates, against hand-worked values and jiwer."""

import doctest

import jiwer
import numpy as np
import pytest

from pipeline_lib.metrics import words


def test_word_error_rate_agrees_with_jiwer_on_random_sentences():
    generator = np.random.default_rng(11)
    known = ["kids", "dogs", "are", "talking", "don't", "by"]
    references = [" ".join(generator.choice(known, generator.integers(1, 12))) for _ in range(60)]
    hypotheses = [" ".join(generator.choice(known, generator.integers(0, 12))) for _ in range(60)]
    expected = jiwer.wer(references, hypotheses)
    assert words.word_error_rate(references, hypotheses) == pytest.approx(expected, abs=1e-15)


def test_word_errors_worked_out_by_hand():
    assert words.word_errors("kids are talking", "Kids are walking.") == (1, 3)
    assert words.word_errors("kids are talking", "") == (3, 3)
    assert words.word_errors("", "dogs bark") == (2, 0)
    assert words.word_errors("a b c d", "b c d e") == (2, 4)


def test_the_rate_is_of_the_corpus_not_the_mean_of_the_utterances():
    # 1 of 1 and 0 of 3 words wrong: 1/4, not (1 + 0) / 2
    assert words.word_error_rate(["yes", "no it is"], ["no", "no it is"]) == 0.25


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It’s 9 o’clock!", "it's 9 o'clock"),
        ("Straße — café, naïve", "straße café naïve"),
        ("''", ""),
        ("rock 'n' roll_x", "rock n roll x"),
        ("हिन्दी भाषा।", "हिन्दी भाषा"),
        ("", ""),
    ],
)
def test_words_are_normalised_as_documented_and_once_is_enough(text, expected):
    assert words.normalise_words(text) == expected
    assert words.normalise_words(expected) == expected


def test_references_without_words_or_of_another_length_are_refused():
    with pytest.raises(ValueError, match="no word in any of 2 references"):
        words.word_error_rate(["", "?!"], ["a", "b"])
    with pytest.raises(ValueError, match="1 references, 2 hypotheses"):
        words.word_error_rate(["a"], ["a", "b"])


@pytest.mark.parametrize(
    "alphabet",
    ["我你他说不知道是的", "あいうえおカキクケー々", "กขคงจ้ิเ", "ກຂຄງິ", "កខគ្ា", "ကခဂျေ"],
    ids=["Han", "Kana", "Thai", "Lao", "Khmer", "Myanmar"],
)
def test_scripts_without_blanks_are_scored_by_characters_as_jiwer_scores_spaced_ones(alphabet):
    generator = np.random.default_rng(5)
    letters = list(alphabet)
    references = ["".join(generator.choice(letters, generator.integers(1, 30))) for _ in range(40)]
    hypotheses = ["".join(generator.choice(letters, generator.integers(0, 30))) for _ in range(40)]
    expected = jiwer.wer([" ".join(each) for each in references], [" ".join(each) for each in hypotheses])
    assert words.word_error_rate(references, hypotheses) == pytest.approx(expected, abs=1e-15)
    assert words.unit_name(references) == "characters"


def test_one_wrong_character_of_ten_is_a_tenth_not_everything():
    assert words.word_errors("今天天气很好我们走吧", "今天天气很好我们去吧") == (1, 10)
    assert words.word_errors("今天天气很好，我们走吧。", "今天 天气 很好 我们 走吧") == (0, 10)  # blanks are no errors
    assert words.word_errors("ﾃｽﾄ", "テスト") == (0, 3)  # half width
    assert words.word_errors("สวัสดีครับ", "สวัสดีครับ") == (0, 10)


def test_korean_and_vietnamese_have_blanks_and_are_scored_by_words():
    assert words.word_errors("오늘 날씨가 좋다", "오늘 날씨는 좋다") == (1, 3)
    assert words.word_errors("hôm nay trời đẹp", "hôm nay trời xấu") == (1, 4)
    assert words.unit_name(["오늘 날씨가 좋다"]) == words.unit_name([]) == "words"


def test_mixed_text_is_scored_by_words_and_characters():
    assert words.units("我用 iPhone 15 说话。") == ["我", "用", "iphone", "15", "说", "话"]
    assert words.unit_name(["我用 iPhone"]) == "words and characters"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[LAUGHTER] Well I don't know. [BREATHING]", "well i don't know"),
        ("oh [cries softly]no", "oh no"),
        ("<noise> yes {breath}", "yes"),
        ("【音楽】はい", "はい"),
        ("［笑］はい", "はい"),
        ("[GARBAGE]", ""),
        ("three [ brackets", "three brackets"),  # never closed: words
        ("x < y and y > z", "x y and y z"),  # comparisons
        ("(indeed) yes", "indeed yes"),
    ],
)
def test_marks_in_brackets_are_no_words(text, expected):
    assert words.normalise_words(text) == expected


def test_marks_are_counted_and_the_rest_is_left_as_it_is():
    text = "[LAUGHTER] Well,  I don't\tknow. [BREATHING]"
    assert (words.without_marks(text), words.count_marks(text)) == ("Well, I don't know.", 2)
    assert words.word_errors(text, "well i don't know") == (0, 4)


def test_the_examples_of_the_docstrings_hold():
    assert doctest.testmod(words).failed == 0
