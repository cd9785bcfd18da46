"""What the sections of the page are made of."""

from collections.abc import Iterable, Sequence

from processor.cleaning.report.markup import Child, Markup, element

NUMBER = "number"


def section(id_: str, title: str, *children: Child) -> Markup:
    return element(
        "section",
        element("h2", title, id=f"{id_}-heading"),
        children,
        id=id_,
        aria_labelledby=f"{id_}-heading",
    )


def table(
    caption: str,
    heads: Sequence[tuple[str, str | None]],
    rows: Iterable[Sequence[Child]],
    *,
    class_: str | None = None,
) -> Markup:
    """`heads` are titles with the class of their cells. The first cell of each row is its head."""
    head = element("tr", [element("th", title, scope="col", class_=of) for title, of in heads])
    body = [
        element(
            "tr",
            [
                element("th" if at == 0 else "td", content, scope="row" if at == 0 else None, class_=heads[at][1])
                for at, content in enumerate(cells)
            ],
        )
        for cells in rows
    ]
    inner = element("table", element("caption", caption), element("thead", head), element("tbody", body), class_=class_)
    # Wide tables scroll by themselves, by the keyboard too.
    return element("div", inner, class_="scroll", role="region", aria_label=caption, tabindex=0)


def numbers_of(caption: str, heads: Sequence[tuple[str, str | None]], rows: Iterable[Sequence[Child]]) -> Markup:
    """Of a plot, for who does not see it."""
    return element(
        "details", element("summary", "The numbers of this plot"), table(caption, heads, rows), class_="numbers"
    )


def figure(plot: Child, *beside: Child) -> Markup:
    return element("figure", plot, beside)


def paragraph(*children: Child, class_: str | None = None) -> Markup:
    return element("p", children, class_=class_)


def legend(items: Iterable[tuple[str, Child]]) -> Markup:
    """Classes, and what they stand for."""
    return element(
        "ul",
        [
            element("li", element("span", "", class_=f"key {class_}", aria_hidden="true"), said)
            for class_, said in items
        ],
        class_="legend",
    )
