"""The site: its links, escaping, numbers, reproduction, what stands out, and how it is written."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from made_cases import made_rows

from optprobe.activations import Activations, extract, load_tokenizer
from optprobe.cases import Case, CaseStudy, Setting, certified_case
from optprobe.data import problem
from optprobe.errors import InputError
from optprobe.features import FeatureDataset
from optprobe.files import write_file
from optprobe.registry import Registry
from optprobe.report import Results, Site, Store, Texts, headline, read_results, results_of, write_site
from optprobe.report.html import number, percent
from optprobe.report.links import slug
from optprobe.report.site import check_place
from optprobe.studies import run_study
from optprobe.studies.study import digest

HOSTILE = "<script>alert(1)</script>"
NAMES = (
    *("../../x", "a/b", "🦊", "x" * 300, "x" * 299, HOSTILE, "is_a", "Is_A", "con", ".", "..", "a b", "a_b", "a-b"),
    *('"onload="x', "a\\b", "a\0b", "\u202eabc"),
)
VOID = {"meta", "link", "br", "hr", "img"}


class Reader(HTMLParser):
    """Collects elements and text, and checks that elements are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def links(self) -> Iterator[str]:
        """Where this page leads, apart from parts of a figure."""
        yield from (a["href"] for _, a in self.elements if "href" in a and not a["href"].startswith("#"))


def pages(folder: Path) -> dict[str, Reader]:
    """Every page of a site, read."""
    found = sorted(folder.rglob("*.html"))
    return {path.relative_to(folder).as_posix(): Reader(path.read_text(encoding="utf-8")) for path in found}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a site."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def hostile_dataset() -> FeatureDataset:
    """Words in markup, of 24 documents, labelled by a feature whose name is markup."""
    texts = tuple(f"{HOSTILE} & <b>word{i}</b>\t7 \"quoted\" '{i}' café\n" for i in range(24))
    spans = [(t, m.start(), m.end()) for t, text in enumerate(texts) for m in re.finditer(r"\w+|[^\w\s]", text)]
    text, start, end = np.array(spans, dtype=np.int32).T
    labels = {HOSTILE: np.array([1 if texts[t][a].isalpha() else -1 for t, a, _ in spans], dtype=np.int8)}
    return FeatureDataset("<i>hostile</i>", texts, text, start, end, text, labels, {HOSTILE: "+1 for <u>letters</u>"})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FeatureDataset]:
    """What a study of the bundled model leaves, about texts and names of markup."""
    folder, data = tmp_path_factory.mktemp("run") / "out", hostile_dataset()
    extract("bundled", data, [0], folder / "activations", values="float32")
    study = CaseStudy(
        (str(folder / "activations"),),
        folder,
        (Setting("squared", 0.01, "balanced"),),
        (1, 2),
        methods=("mean_difference", "beam_search"),
        draws=50,
    )
    assert run_study(study, folder).failures == ()
    return folder, data


def site_of(folder: Path, data: FeatureDataset) -> Site:
    store = Store(Activations.open(folder / "activations"), Texts(data, load_tokenizer("bundled")))
    return Site(read_results(folder), f"A title of {HOSTILE}", store)


@pytest.fixture(scope="module")
def site(run: tuple[Path, FeatureDataset], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of that study, with contexts."""
    return write_site(site_of(*run), tmp_path_factory.mktemp("site") / "site").parent


def certified(case: Case, registry: Registry) -> Case:
    """The same case again, with its certificate in this registry."""
    data = made_rows(case.feature, case.layer)
    stated = problem(data, case.k, loss=case.loss, ridge=case.ridge, class_weight=case.class_weight)
    return certified_case(data, stated, registry, method=case.engine, draws=100)


@pytest.fixture(scope="module")
def results(cases: list[Case], tmp_path_factory: pytest.TempPathFactory) -> Results:
    """The cases of the whole suite."""
    registry = Registry(tmp_path_factory.mktemp("again"))
    return results_of([certified(case, registry) for case in cases], registry, (100,))


@pytest.fixture(scope="module")
def plain(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their site, which has no store."""
    return write_site(Site(results, "A title"), tmp_path_factory.mktemp("plain")).parent


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with a case for each hostile name of a feature."""
    folder = tmp_path_factory.mktemp("named")
    registry, found = Registry(folder / "registry"), []
    for name in NAMES:
        data = replace(made_rows("made", 0), scope={"model": HOSTILE, "feature": name, "layer": 0, "note": HOSTILE})
        stated = problem(data, 1, loss="squared", ridge=0.01)
        found.append(certified_case(data, stated, registry, methods=("mean_difference",), draws=5))
    return write_site(Site(results_of(found, registry), "Names"), folder / "site").parent


@pytest.mark.parametrize("made", ["site", "plain", "named"])
def test_every_link_leads_to_a_file_of_the_site(made: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(made)
    reached = {"index.html", "site.json"}
    for name, page in pages(folder).items():
        for link in page.links():
            assert not re.match(r"\w+:|/", link), link
            target = ((folder / name).parent / link).resolve()
            assert target.is_file(), (name, link)
            reached.add(target.relative_to(folder.resolve()).as_posix())
        ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
        assert len(ids) == sum("id" in attributes for _, attributes in page.elements)
        inner = {a["href"][1:] for _, a in page.elements if a.get("href", "").startswith("#")}
        assert inner <= ids
        assert not {tag for tag, _ in page.elements} & {"script", "iframe", "object", "embed", "img"}
        for _, attributes in page.elements:
            assert not {"src", "data", "action"} & set(attributes)
            assert not [key for key in attributes if key.startswith("on")]
    assert reached == set(contents(folder))
    if made == "named":
        assert len(list((folder / "feature").iterdir())) == len(NAMES)
        assert {path.name for path in folder.parent.iterdir()} == {"registry", "site"}


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for name, content in contents(site).items():
        if not name.endswith(".cert"):
            assert not re.search(rb"https?:|@import|url\((?!#)", content), name


def test_the_same_bytes_twice_and_from_another_folder(
    run: tuple[Path, FeatureDataset], site: Path, tmp_path: Path
) -> None:
    folder, data = run
    moved = Path(shutil.copytree(folder, tmp_path / "elsewhere" / "moved"))
    (moved / "registry" / "index.sqlite").unlink()
    for _ in range(2):
        write_site(site_of(moved, data), tmp_path / "site")
        assert contents(tmp_path / "site") == contents(site)
    assert not [name for name, content in contents(site).items() if str(folder).encode() in content]


def test_markup_in_names_and_tokens_is_text(site: Path, named: Path) -> None:
    for name, content in {**contents(site), **contents(named)}.items():
        assert name.endswith((".cert", ".csv")) or b"<script" not in content, name
        assert name.endswith((".cert", ".csv")) or b"<b>word" not in content, name
    read = pages(site)
    assert HOSTILE in read["index.html"].text
    neurons = [page for name, page in read.items() if name.startswith("neuron/")]
    assert len(neurons) >= 2
    texts = [re.sub(r" -?\d+\.\d\d ", "", page.text.split("Where it is largest")[1]) for page in neurons]
    assert any(HOSTILE in text for text in texts)
    of_names = "".join(page.text for name, page in pages(named).items() if name.startswith("certificate/"))
    for name in ("../../x", "🦊", '"onload="x', "a\\x00b", "\\u202eabc"):
        assert name in of_names
    assert "\0" not in of_names
    assert "\u202e" not in of_names


def test_tokens_are_those_of_the_text_with_their_values(run: tuple[Path, FeatureDataset]) -> None:
    site = site_of(*run)
    assert site.store is not None
    store, neuron = site.store.activations, site.results.current[0].support[0]
    (details,) = site.store.describe(0, [neuron], [[HOSTILE]])
    values = store.matrices[0].columns(np.array([neuron]))[:, 0]
    assert [row.value for row in details.top] == sorted(values.tolist(), reverse=True)[:20]
    for row in details.top:
        assert [token.value for token in row.tokens if token.own] == [row.value]
        text = run[1].texts[store.text[row.row]]
        assert "".join(token.text for token in row.tokens).replace("⏎", "\n").replace("⇥", "\t") in text
        assert sum(token.value is not None for token in row.tokens) > 3
    assert details.top[0].tokens[0].heat <= max(token.heat for token in details.top[0].tokens) == 4
    assert len(details.figures) == 1


def test_correlations_are_those_of_the_layer(run: tuple[Path, FeatureDataset]) -> None:
    site = site_of(*run)
    assert site.store is not None
    store, neuron = site.store.activations, site.results.current[0].support[0]
    (details,) = site.store.describe(0, [neuron], [[]])
    whole = np.corrcoef(store.matrices[0].rows(np.arange(store.n_rows)).T.astype(np.float64))[neuron]
    assert len(details.correlated) == 10
    for other, correlation in details.correlated:
        assert correlation == pytest.approx(whole[other], abs=6e-4)
    others = np.sort(np.delete(np.abs(whole), neuron))[::-1]
    assert [abs(value) for _, value in details.correlated] == pytest.approx(others[:10].tolist(), abs=6e-4)


def test_names_of_pages_are_safe_and_differ() -> None:
    names = [*NAMES, "unnamed", "\ud800", "", *map(str, range(50)), *(slug(name) for name in NAMES)]
    found = {name: slug(name) for name in names}
    assert len(set(found.values())) == len(set(names))
    for made in found.values():
        assert re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", made)
        assert made not in ("con", "nul")
    assert found["is_a"] == "is_a"


def test_every_number_of_a_case_is_on_its_page(results: Results, plain: Path, cases: list[Case]) -> None:
    read, links = pages(plain), Site(results, "A title").links
    assert headline(cases) in read["index.html"].text
    for entry in results.current:
        case = entry.case
        assert case is not None
        feature, page = read[links.feature(case.feature)], read[links.certificate(entry)]
        for shown in (feature, read["index.html"]):
            for text in (f"{case.upper_bound:.6f}", f"{case.lower_bound:.6f}", ", ".join(map(str, case.support))):
                assert text in shown.text
            assert f"{'../' * (shown is feature)}{links.certificate(entry)}" in [*shown.links()]
        for result in case.methods:
            f1, auc = (
                f"{getattr(result.test, name):.3f} [{getattr(result.low, name):.3f}, {getattr(result.high, name):.3f}]"
                for name in ("f1", "auc")
            )
            for text in (f"{result.objective:.6f}", f1, auc, percent(result.relative_regret), number(result.regret)):
                assert text in feature.text
        assert entry.sha256 in page.text
        assert f"optprobe verify {links.file(entry)} --data activations" in page.text
        assert f"F is at least {entry.lower_bound:.12g}" in page.text
        assert "@misc{optprobe-" in page.text
        assert (plain / links.file(entry)).read_bytes() == entry.path.read_bytes()
        for neuron in case.support:
            assert entry.sha256[:12] in read[links.neuron(entry.place, neuron)].text
    assert (plain / "cases.csv").read_text(encoding="utf-8").count("\n") == 1 + sum(len(c.methods) for c in cases)


def test_a_page_without_activations_says_what_it_misses(plain: Path, site: Path) -> None:
    for name, page in pages(plain).items():
        assert ("--activations" in page.text) is name.startswith("neuron/")
    assert not [name for name, page in pages(site).items() if "--activations" in page.text]


def test_a_certificate_that_is_rejected_or_unverified_stands_out(cases: list[Case], tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    first, second = (certified(case, registry) for case in cases[:2])
    for note in registry.folder.rglob(f"{second.certificate}.checked.json"):
        note.unlink()
    refused = replace(first, accepted=False, verdict="the sentence of the checker")
    write_site(Site(results_of([refused, second], registry), "A title"), tmp_path / "site")
    read = pages(tmp_path / "site")
    index = read["index.html"]
    assert "THE INDEPENDENT CHECKER REJECTS 1 OF 2" in index.text
    assert "NOT ACCEPTED: the sentence of the checker" in index.text
    assert index.text.count("NOT VERIFIED") == 1
    classes = [attributes.get("class", "") for tag, attributes in index.elements if tag == "a"]
    assert sorted(name for name in classes if name.startswith("mark")) == ["mark claimed", "mark rejected"]
    of_first, of_second = (read[f"certificate/{case.certificate[:12]}.html"] for case in (first, second))
    assert "NOT ACCEPTED" in of_first.text
    assert "the sentence of the checker" in of_first.text
    assert "NOT VERIFIED" in of_second.text
    for page in (of_first, of_second):
        assert "What was proved" not in page.text
        assert "claimed, not verified here" in page.text


def test_a_note_that_was_forged_is_not_printed(cases: list[Case], tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    case = certified(cases[0], registry)
    (path,) = registry.folder.rglob("*.checked.json")
    note = json.loads(path.read_text())
    note["statement"]["data"]["constant"] = "many"
    path.write_text(json.dumps(note))
    write_site(Site(read_results(registry.folder), "A title"), tmp_path / "site")
    assert "What is claimed" in pages(tmp_path / "site")[f"certificate/{case.certificate[:12]}.html"].text


def test_a_registry_alone_has_a_site_without_comparisons(results: Results, tmp_path: Path) -> None:
    found = read_results(results.entries[0].path.parents[1])
    write_site(Site(found, "A title"), tmp_path)
    index = pages(tmp_path)["index.html"]
    assert f"{len(found.current)} problems, {len(found.current)} of them with a set" in index.text
    assert "Heuristics against" not in index.text
    assert not (tmp_path / "cases.csv").exists()


def test_records_that_lie_or_are_damaged_are_told(run: tuple[Path, FeatureDataset], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run[0], tmp_path / "copy"))
    first, second = sorted((folder / "records").iterdir())
    record = json.loads(first.read_text())
    record["result"]["upper_bound"] = 0.0
    record["sha256"] = digest([record["key"], record["item"], record["result"], record["ran"]])
    first.write_text(json.dumps(record))
    second.write_text("{")
    found = read_results(folder)
    assert found.cases == []
    assert len(found.entries) == 2
    write_site(Site(found, "A title"), tmp_path / "site")
    text = pages(tmp_path / "site")["index.html"].text
    assert "A record says other things than its certificate" in text
    assert f"The record {second.stem[:12]} is damaged" in text
    certificate = next((folder / "registry").rglob("*.cert"))
    content = certificate.read_bytes()
    certificate.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert [sentence for sentence in read_results(folder).left_out if "registry check" in sentence]


def test_a_record_of_another_version_is_told_until_there_is_one_of_this(
    run: tuple[Path, FeatureDataset], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(run[0], tmp_path / "copy"))
    first, *_ = sorted((folder / "records").iterdir())
    record = json.loads(first.read_text())
    for method in record["result"]["methods"]:
        method.pop("auc_low")
    record["key"] = "0" * 64
    record["sha256"] = digest([record["key"], record["item"], record["result"], record["ran"]])
    older = first.with_name(f"{record['key']}.json")
    older.write_text(json.dumps(record))
    assert read_results(folder).left_out == ()
    first.unlink()
    assert read_results(folder).left_out == ("The record 000000000000 is of another version: run the study again.",)


def test_two_models_have_pages_of_their_own(tmp_path: Path) -> None:
    registry, found = Registry(tmp_path / "registry"), []
    for model in ("a", "b"):
        data = replace(made_rows("same", 0), scope={"model": model, "feature": "same", "layer": 0})
        found.append(certified_case(data, problem(data, 2, loss="squared", ridge=0.01), registry, draws=5))
    shown = results_of(found, registry)
    assert len(shown.current) == 2
    write_site(Site(shown, "A title"), tmp_path / "site")
    read = pages(tmp_path / "site")
    assert len([name for name in read if name.startswith("neuron/")]) == 2 * len(found[0].support)
    assert "layer 0, b on unnamed" in read["index.html"].text


def test_of_several_records_the_one_that_says_most_is_shown(cases: list[Case], tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    data = made_rows(cases[0].feature, cases[0].layer)
    stated = problem(data, 2, loss="squared", ridge=0.01)
    swept = certified_case(data, stated, registry, draws=5)
    tree = certified_case(data, stated, registry, method="branch_and_cut", methods=("beam_search",), draws=5)
    shown = results_of([tree, swept], registry)
    assert len(shown.entries) == 2
    assert len(shown.current) == len(shown.others) == 1
    write_site(Site(shown, "A title"), tmp_path / "site")
    read = pages(tmp_path / "site")
    assert "Further certificates of the same problems" in read["index.html"].text
    assert "dual vectors" in read[f"certificate/{tree.certificate[:12]}.html"].text


def test_one_case_and_cases_without_the_usual_ranking(cases: list[Case], tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    case = certified(cases[-1], registry)
    kept = tuple(row for row in case.methods if row.method in ("optimum", "beam_search"))
    for at, methods in enumerate((case.methods, kept, (case.best,))):
        write_site(Site(results_of([replace(case, methods=methods)], registry), "A title"), tmp_path / str(at))
        assert f"{case.upper_bound:.6f}" in pages(tmp_path / str(at))["index.html"].text
    assert "mean difference" not in headline([replace(case, methods=kept)])


def test_a_site_is_replaced_and_anything_else_is_left(results: Results, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    check_place(folder)
    write_site(Site(results, "A title"), folder)
    (folder / "mine.txt").write_text("mine")
    (tmp_path / "outside.html").write_text("mine")
    stated = json.loads((folder / "site.json").read_text())
    stated["files"] += ["mine.txt", "../outside.html", "feature/../../outside.html"]
    (folder / "site.json").write_text(json.dumps(stated))
    check_place(folder)
    write_site(Site(Results(results.entries[:1]), "A title"), folder)
    assert (folder / "mine.txt").is_file()
    assert (tmp_path / "outside.html").is_file()
    assert len(list((folder / "certificate").glob("*.html"))) == 1
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "index.html").write_text("years of work")
    with pytest.raises(InputError, match="no site of optprobe"):
        check_place(tmp_path / "thesis")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_file(tmp_path / "index.html", "old")
    with pytest.raises(UnicodeEncodeError):
        write_file(path, "new \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(InputError, match="cannot be written"):
        write_file(path / "index.html", "")


@pytest.mark.parametrize("made", ["site", "plain"])
def test_headings_tables_and_figures_speak(made: str, request: pytest.FixtureRequest) -> None:
    for name, page in pages(request.getfixturevalue(made)).items():
        levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels)), name
        assert all(attributes.get("scope") in ("col", "row") for tag, attributes in page.elements if tag == "th")
        tags = [tag for tag, _ in page.elements]
        assert tags.count("table") == tags.count("caption") > 0 or name.startswith("certificate/")
        assert all(a.get("role") == "img" and a.get("aria-label") for tag, a in page.elements if tag == "svg")
        assert all("data-label" in attributes for tag, attributes in page.elements if tag == "td")


def test_near_optimal_sets_and_the_roles_of_their_neurons(tmp_path: Path) -> None:
    data = made_rows("made", 0)
    stated = problem(data, 2, loss="squared", ridge=0.01)
    registry = Registry(tmp_path / "registry")
    case = certified_case(data, stated, registry, methods=("mean_difference",), draws=5, within=0.2)
    plain = certified_case(data, stated, registry, methods=("mean_difference",), draws=5)
    results = results_of([plain, case], registry, (5,))
    assert [entry.pooled for entry in results.current] == [True]
    read = pages(write_site(Site(results, "A title"), tmp_path / "site").parent)["feature/made.html"]
    pool = results.current[0].claim.result.pool
    assert pool is not None
    assert len(pool.sets) > 1
    assert f"{pool.rest:.6f}" in read.text
    for one in pool.sets:
        assert f"{one.upper_bound:.6f}" in read.text
    assert read.text.count("replaceable") > read.text.count("indispensable") >= 2
