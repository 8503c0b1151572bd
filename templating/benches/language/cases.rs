//! What is rendered: one family for each thing that can be slow.

use serde_json::{Value as Json, json};

/// Templates of one family, rendered one after the other as one operation.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) sources: Vec<String>,
    pub(crate) context: Json,
    /// Values that take the place of [`EVOLVING_PATH`] one after the other; each is followed by a render of all sources.
    pub(crate) updates: Vec<Json>,
}

/// Where the context changes in the family that has updates.
pub(crate) const EVOLVING_PATH: [&str; 3] = ["steps", "latest", "output"];

pub(crate) fn all() -> Vec<Case> {
    vec![files(), expressions(), tiny(), lookups(), macros(), filters(), evolving()]
}

fn case(name: &'static str, about: &'static str, sources: Vec<String>, context: Json) -> Case {
    Case { name, about, sources, context, updates: Vec::new() }
}

fn files() -> Case {
    let count = 50;
    let sections: Vec<Json> = (0..count)
        .map(|file| {
            let entries = (0..10).map(|entry| {
                json!({"title": format!("part-{file}-{entry}"), "weight": file * 10 + entry, "shown": entry % 3 != 0})
            });
            Json::Array(entries.collect())
        })
        .collect();
    let sources = (0..count)
        .map(|file| {
            [
                format!("{{# page {file}: {} #}}", "words for the parser to skip ".repeat(8)),
                "{% macro badge(text) %}<${{ text | upper }}>{% endmacro %}".to_owned(),
                format!("<article class=\"page-{file}\">"),
                format!("{{% set headline = \"Page {file}\" %}}"),
                "<h1>${{ headline }}</h1>".to_owned(),
                format!("{{% for entry in sections[{file}] %}}"),
                format!("  {{# {} #}}", "packed words ".repeat(11)),
                "  {% if entry.shown %}<li>${{ loop.index }}:${{ badge(entry.title) }}=${{ entry.weight }}</li>{% endif %}".to_owned(),
                "{% endfor %}".to_owned(),
                "<small>${{ site | upper }}</small>".to_owned(),
                "</article>".to_owned(),
            ]
            .join("\n")
        })
        .collect();
    case(
        "template files",
        "50 files with comments, a macro, an assignment, a loop over 10 and a condition",
        sources,
        json!({"site": "Understudy", "sections": sections}),
    )
}

fn expressions() -> Case {
    let rows: Vec<Json> = (0..750)
        .map(|row| {
            json!({
                "label": format!("line-{row}"),
                "start": row + 7,
                "shift": (row * 19) % 29,
                "parts": row % 9 + 1,
                "scale": row % 13 + 2,
                "active": row % 5 != 0,
                "color": (["red", "green", "blue", "white"][row % 4]),
            })
        })
        .collect();
    let source = [
        "{% for row in rows %}",
        "  {% set one = row.start * 7 + row.shift %}",
        "  {% set two = (one // row.parts) % 89 %}",
        "  {% set three = (two ** 2 + row.scale * 11) % 991 %}",
        "  {% set chosen = (three >= 500 and row.active) or three == 77 %}",
        "  {% if chosen and row.color in [\"red\", \"blue\"] %}Y{% else %}N{% endif %}",
        "${{ loop.index0 }}:${{ one }}:${{ two }}:${{ three }}:",
        "${{ row.label ~ \":\" ~ (one + two + three) }}\n",
        "{% endfor %}",
    ];
    case(
        "expressions",
        "750 turns of arithmetic, assignments, comparisons, membership and concatenation",
        vec![source.concat()],
        json!({"rows": rows}),
    )
}

fn tiny() -> Case {
    let names: Vec<Json> =
        (0..32).map(|index| json!({"label": format!("word-{index}"), "active": index % 3 != 0})).collect();
    let sources = (0..500)
        .map(|index| {
            let at = index % names.len();
            format!("item-{index}:${{{{ words[{at}].label }}}}:${{{{ words[{at}].active }}}}\n")
        })
        .collect();
    case("tiny templates", "500 different sources with two look-ups each", sources, json!({"words": names}))
}

fn lookups() -> Case {
    let rows: Vec<Json> = (0..600)
        .map(|row| {
            json!({
                "meta": {
                    "tags": {"main": format!("main-{row}"), "other": format!("other-{}", row % 17)},
                    "notes": {"author": format!("author-{}", row % 23)},
                },
                "numbers": [row, row + 1, row + 2],
            })
        })
        .collect();
    let source = [
        "{% set part = \"tags\" %}",
        "{% set key = \"other\" %}",
        "{% for row in rows %}",
        "${{ row.meta.tags.main }}:",
        "${{ row[\"meta\"][part][key] }}:",
        "${{ row.meta.notes.author }}:",
        "${{ row.numbers[1] }}:",
        "${{ absent.path.value }}\n",
        "{% endfor %}",
    ];
    case(
        "deep look-ups",
        "600 records: constant, computed, indexed and missing paths",
        vec![source.concat()],
        json!({"rows": rows}),
    )
}

fn macros() -> Case {
    let rows: Vec<Json> =
        (0..450).map(|row| json!({"label": format!("row-{row}"), "numbers": [row, row + 1, row + 2]})).collect();
    let source = [
        "{% macro field(number, before=\"b\", after=\"?\") %}",
        "${{ before }}${{ number }}${{ after }}",
        "{% endmacro %}",
        "{% macro line(row, kind=\"line\") %}",
        "{% set head = kind ~ \":\" ~ row.label %}",
        "${{ head }}(",
        "{% for number in row.numbers %}",
        "${{ field(number, before=\"f\", after=\",\") }}",
        "{% endfor %})",
        "{% endmacro %}",
        "{% for row in rows %}${{ line(row, kind=\"record\") }}\n{% endfor %}",
    ];
    case(
        "macros and scopes",
        "450 rows of nested macro calls with defaults, keywords, a loop and an assignment",
        vec![source.concat()],
        json!({"rows": rows}),
    )
}

fn filters() -> Case {
    let rows: Vec<Json> = (0..900)
        .map(|row| {
            json!({
                "label": format!("row-{row:04}"),
                "team": (["east", "west", "north"][row % 3]),
                "points": (row * 37) % 1000,
                "active": row % 4 != 0,
            })
        })
        .collect();
    let source = [
        "{% for team, members in rows | groupby(\"team\") %}",
        "${{ team | upper }}:",
        "${{ members | selectattr(\"active\") | sort(false, false, \"points\") | join(\",\", \"label\") }}:",
        "${{ members | sum(\"points\") }}:",
        "${{ members | sort(true, false, \"points\") | first | dump }}\n",
        "{% endfor %}",
    ];
    case(
        "filter pipelines",
        "900 records grouped, selected, sorted, joined, summed and dumped",
        vec![source.concat()],
        json!({"rows": rows}),
    )
}

fn evolving() -> Case {
    let source = [
        "${{ project.title }}:",
        "${{ steps.latest.output.count }}:",
        "${{ steps.latest.output.state }}:",
        "${{ steps.latest.output.result.text }}\n",
    ];
    let updates = (0..500).map(|count| {
        let state = if count % 2 == 0 { "done" } else { "busy" };
        json!({"count": count, "state": state, "result": {"text": format!("text-{count}")}})
    });
    Case {
        updates: updates.collect(),
        ..case(
            "evolving context",
            "500 renders, with one nested value replaced before each",
            vec![source.concat()],
            json!({"project": {"title": "evolving"}, "steps": {"latest": {"output": null}}}),
        )
    }
}
