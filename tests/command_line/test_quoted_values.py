"""Paths and texts with signs that Hydra's grammar does not take bare."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from kd_runner.command_line.messages import messages_about, one_line_message
from kd_runner.command_line.quoted_values import quoted_text, quoted_word
from kd_runner.command_line.typed_texts import as_hydra_reads_it

SIGNS = [
    "ä",
    "a\u0308",
    "日",
    "(",
    ")",
    "'",
    '"',
    "&",
    ",",
    "=",
    " ",
    "#",
    "$",
    ";",
    "[",
    "]",
    "{",
    "}",
    "~",
    "!",
    "<",
    ">",
]
SIGNS += ["`", "\\", "|", "?", "*", "%", "^", "@", ":", "+", "-"]


def read(word: str) -> object:
    """The value that Hydra reads; an iterator for a sweep."""
    return OverridesParser.create().parse_override(word).value()


def shown(word: str) -> str:
    """The message about a word that Hydra cannot read."""
    with messages_about([word]):
        return one_line_message(HydraException(f"Error parsing override '{word}'"))


def from_a_shell(word: str) -> str:
    """The word that a program is handed where a person types `word` in a shell."""
    return subprocess.run(["sh", "-c", f"printf %s {word}"], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("sign", SIGNS)
def test_a_path_is_taken_as_it_is_typed(sign: str, tmp_path: Path) -> None:
    folder = tmp_path / f"Fotos {sign}2{sign}"
    folder.mkdir()
    assert read(as_hydra_reads_it(f"dataset.root={folder}")) == str(folder)
    assert read(as_hydra_reads_it(f"+dataset.class_names={folder}" if sign != "," else f"store={folder}")) == str(
        folder
    )
    if sign != ",":  # several folders, unless such a one is there
        missing = folder / "missing"
        assert read(as_hydra_reads_it(f"teacher.checkpoint={missing}")) == str(missing)


@pytest.mark.parametrize("sign", SIGNS)
def test_the_word_that_a_message_shows_can_be_typed(sign: str) -> None:
    text = f"Fotos {sign}2{sign}"
    typed = quoted_word(f"dataset.label_column={text}")
    assert typed is not None
    assert from_a_shell(shlex.quote(typed)) == f"dataset.label_column={quoted_text(text)}"
    assert read(from_a_shell(shlex.quote(typed))) == text


@pytest.mark.parametrize(
    ("word", "typed", "value"),
    [
        ("+dataset.label_column=Preis (EUR)", "'+dataset.label_column=\"Preis (EUR)\"'", "Preis (EUR)"),
        ("dataset.label=it's=1", "'dataset.label=\"it'\"'\"'s=1\"'", "it's=1"),
        (
            "dataset.classes=[Hund (klein),Katze]",
            "'dataset.classes=[\"Hund (klein)\",Katze]'",
            ["Hund (klein)", "Katze"],
        ),
    ],
)
def test_the_message_about_a_value_shows_the_word_in_quotes(word: str, typed: str, value: object) -> None:
    key, _, given = word.partition("=")
    assert shown(word) == f"{key}: must stand in quotes, {typed}, got {given}"
    assert read(from_a_shell(typed)) == value


@pytest.mark.parametrize("word", ["batch_size=64)", "student.layers=[a", "distillation.weight=choice(1,2"])
def test_quotes_are_no_remedy_for_other_mistakes(word: str) -> None:
    assert "must stand in quotes" not in shown(word)


def test_texts_of_letters_are_taken_alone_and_in_lists_and_sweeps() -> None:
    assert read(as_hydra_reads_it("dataset.label_column=Größe")) == "Größe"
    assert read(as_hydra_reads_it("dataset.classes=[Hund,Kätzchen]")) == ["Hund", "Kätzchen"]
    assert as_hydra_reads_it("dataset.label_column=Größe,Art") == 'dataset.label_column="Größe",Art'


def test_what_hydra_reads_stays_as_it_is(tmp_path: Path) -> None:
    words = [
        "seed=0,1", "dataset.root='/a b'", 'store="/a (1)"', "temperature.value=range(1,4)", "dataset.root=/a b",
        "dataset.root=${oc.env:HOME}/ä", "student.optimizer={lr: 0.1}", "~teacher.layers", "key =ä", "-m",
    ]  # fmt: skip
    for word in words:
        assert as_hydra_reads_it(word) == word
    for name in ("a", "b", "a,b"):
        (tmp_path / name).mkdir()
    assert as_hydra_reads_it(f"dataset.root={tmp_path}/a,{tmp_path}/b") == f"dataset.root={tmp_path}/a,{tmp_path}/b"
    assert as_hydra_reads_it(f"dataset.root={tmp_path}/a,b") == f'dataset.root="{tmp_path}/a,b"'
    assert as_hydra_reads_it("store=/x,y") == "store=/x,y"  # neither is there: Hydra says what may be meant


@pytest.mark.parametrize("word", ["seed=1]", "seed=[1", "seed=1,2]", "optimizer.lr=0.1]", "dataset.classes=[ä"])
def test_a_bracket_without_its_partner_stays(word: str) -> None:
    assert as_hydra_reads_it(word) == word


def test_a_list_stays_one_beside_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "[Birds,Cats]").mkdir()
    assert read(as_hydra_reads_it("dataset.classes=[Birds,Cats]")) == ["Birds", "Cats"]
    assert read(as_hydra_reads_it("dataset.root=[Birds,Cats]")) == "[Birds,Cats]"


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("dataset.root=2024", "2024"),
        ("dataset.root=1e3", "1e3"),
        ("dataset.root=true", "true"),
        ("store=1e5", "1e5"),
        ("hydra.run.dir=1_000", "1_000"),
        ("evaluate.also=[2023, 2024,'a b']", ["2023", "2024", "a b"]),
        ("dataset.may_lead_to=[2024]", ["2024"]),
        ("dataset.class_names=[0,1]", ["0", "1"]),
        ("+teacher.checkpoint=+1", "+1"),
        ("teachers.two.checkpoint=1.50", "1.50"),
        ("student.without_classes=[+1]", ["+1"]),
        ("student.without_classes=[-1,1_0,1e1,null,true]", [-1, "1_0", "1e1", "null", "true"]),
        ("teacher.classes=[+1,-1]", ["+1", -1]),
        ("tags=[007,1e3,2024]", ["007", "1e3", 2024]),
        ("tags=1e3", ["1e3"]),
        ("student.without_classes=[T shirt,+1]", ["T shirt", "+1"]),
        (r'student.without_classes=["a\"b,1e3",+1]', ['a"b,1e3', "+1"]),
        ("teacher.classes=[a@b,+1, +2]", ["a@b", "+1", "+2"]),
        ("teachers.two.classes=[+1]", ["+1"]),
        ("assistants.mid.without_classes=[+1,3]", ["+1", 3]),
        ("tags=[a b,1e3]", ["a b", "1e3"]),
        ("evaluate.also=[a b,2024]", ["a b", "2024"]),
        ("dataset.root= 2024", "2024"),
    ],
)
def test_a_text_that_looks_like_a_number_is_taken_as_it_is_typed(word: str, value: object) -> None:
    assert read(as_hydra_reads_it(word)) == value


def test_a_sweep_over_folders_with_numbers_for_names() -> None:
    assert as_hydra_reads_it("dataset.root=2023,2024,a") == 'dataset.root="2023","2024",a'
    assert as_hydra_reads_it("dataset.root=1e5,a b") == 'dataset.root="1e5",a b'


def test_a_sweep_over_lists_of_texts() -> None:
    assert as_hydra_reads_it("student.without_classes=[+1],[-1,a]") == 'student.without_classes=["+1"],[-1,a]'
    assert as_hydra_reads_it("evaluate.also=[2024,2025],[x]") == 'evaluate.also=["2024","2025"],[x]'


def test_numbers_of_other_settings_and_null_stay() -> None:
    words = [
        "seed=+1", "optimizer.lr=1e-3", "dataset.cache=null", "teacher.checkpoint=null", "dataset.download=true",
        "student.without_classes=[3,8]", "store=/a/2024", "student.without_classes=[1],[2]", "dataset.cache=false",
        "store=false", "dataset.root=choice(1,2)", "student.without_classes=[1", "student.without_classes=[+1]]",
    ]  # fmt: skip
    for word in words:
        assert as_hydra_reads_it(word) == word
