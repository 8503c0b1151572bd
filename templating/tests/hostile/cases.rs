//! The templates, by what they abuse.

use understudy_templating::Dialect;

/// How a template has to end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome {
    /// In an error about a limit.
    Limit,
    /// In an error that says this.
    Error(&'static str),
    /// With a result.
    Fine,
    /// However it likes; what counts is that it ends.
    Any,
}

pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) dialect: Dialect,
    pub(crate) cookiecutter: bool,
    pub(crate) trims: bool,
    pub(crate) outcome: Outcome,
    /// One of those that any engine is asked about.
    pub(crate) is_famous: bool,
}

use Outcome::{Any, Error, Fine, Limit};

/// About a megabyte of text in `s`, by doubling.
const MEGABYTE: &str = "{% set s = 'abcdefgh' %}{% for i in range(17) %}{% set s = s ~ s %}{% endfor %}";
/// The same with three bytes a code unit.
const WIDE: &str = "{% set s = '名前名前' %}{% for i in range(17) %}{% set s = s ~ s %}{% endfor %}";
/// A hundred thousand numbers in `a`.
const MANY: &str = "{% set a = range(100000) %}";
/// Arrays in which the one before lies twice, forty times over.
const TWICE: &str = "{% set a = [1] %}{% for i in range(40) %}{% set a = [a, a] %}{% endfor %}";

fn both(cases: &mut Vec<Case>, name: &str, source: &str, outcome: Outcome) {
    for dialect in Dialect::ALL {
        one(cases, dialect, name, source, outcome);
    }
}

fn one(cases: &mut Vec<Case>, dialect: Dialect, name: &str, source: &str, outcome: Outcome) {
    let (name, source) = (name.to_owned(), source.to_owned());
    cases.push(Case { name, source, dialect, cookiecutter: false, trims: false, outcome, is_famous: false });
}

pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    named_by_everyone(&mut cases);
    cases.iter_mut().for_each(|case| case.is_famous = true);
    growth_of_text(&mut cases);
    growth_of_arrays(&mut cases);
    recursion(&mut cases);
    regular_expressions(&mut cases);
    sources(&mut cases);
    older_methods(&mut cases);
    for (name, source) in [
        (
            "cookiecutter: growing lists",
            "{% set a = [1] %}{% for i in range(40) %}{% set a = a + a %}{% endfor %}${{ a }}",
        ),
        ("cookiecutter: slices", "${{ range(100000)[0:100000:0.0001] }}"),
        ("cookiecutter: a slice of something endless", "${{ {length: 1e15}[0:1e15] }}"),
        ("cookiecutter: insert", "{% set a = [] %}{% for i in range(90000) %}${{ a.insert(0, i) }}{% endfor %}"),
    ] {
        let (name, source) = (name.to_owned(), source.to_owned());
        let dialect = Dialect::Nunjitsu;
        cases.push(Case { name, source, dialect, cookiecutter: true, trims: true, outcome: Any, is_famous: false });
    }
    cases
}

/// The five that any engine is asked about.
fn named_by_everyone(cases: &mut Vec<Case>) {
    both(cases, "catastrophic pattern", "${{ r/^(a+)+$/.test(word + '!') }}", Fine);
    both(cases, "catastrophic pattern that goes back", r"${{ r/^(a*)*\1b$/.test(word) }}", Error("backtracking"));
    both(cases, "parentheses", &format!("${{{{ {}1{} }}}}", "(".repeat(100_000), ")".repeat(100_000)), Limit);
    both(cases, "range(1e9)", "${{ range(1000000000) }}", Limit);
    both(
        cases,
        "doubling with ~",
        "{% set s='x' %}{% for i in range(60) %}{% set s = s ~ s %}{% endfor %}${{ s }}",
        Limit,
    );
    both(cases, "a macro calling itself", "{% macro m() %}${{ m() }}{% endmacro %}${{ m() }}", Limit);
}

fn growth_of_text(cases: &mut Vec<Case>) {
    let looped = |step: &str| format!("{{% set s='xy' %}}{{% for i in range(60) %}}{step}{{% endfor %}}${{{{ s }}}}");
    for (name, step) in [
        ("doubling with +", "{% set s = s + s %}"),
        ("doubling with concat", "{% set s = s.concat(s, s, s) %}"),
        ("doubling in a captured block", "{% set s %}${{ s }}${{ s }}{% endset %}"),
        ("doubling in a filter block", "{% set s %}{% filter upper %}${{ s }}${{ s }}{% endfilter %}{% endset %}"),
        ("doubling with join", "{% set s = [s, s] | join %}"),
        ("doubling with replace", "{% set s = s | replace('x', 'xyxyxyxyxyxyxyxyxyx') %}"),
        ("doubling with replace of nothing", "{% set s = s | replace('', s) %}"),
        ("doubling with a pattern", "{% set s = s | replace(r/x/g, '$&$&$&$&$&y') %}"),
        ("doubling with a pattern's surroundings", "{% set s = s | replace(r/[xy]/g, \"$`$'$&\") %}"),
        ("growing with indent", "{% set s = s ~ '\n' ~ s | indent(100, true) %}"),
        ("growing with center", "{% set s = s | center(s.length * 3) %}"),
        ("growing with escape", "{% set s = ('<' ~ s ~ s) | forceescape %}"),
        ("growing with urlencode", "{% set s = ('%' ~ s) | urlencode | replace('%', '%%%') %}"),
        ("growing with dump", "{% set s = [s, s] | dump %}"),
        ("growing with urlize", "{% set s = ('http://a.com/' ~ s) | urlize %}"),
        ("growing with nl2br", "{% set s = ('\n' ~ s ~ '\n' ~ s) | nl2br %}"),
        ("growing with a definition", "{% set s = s | twice %}"),
        ("growing with a macro", "{% macro m(x) %}${{ x }}${{ x }}{% endmacro %}{% set s = m(s) %}"),
    ] {
        both(cases, name, &looped(step), Any);
    }
    both(cases, "doubling without end", &looped("{% set s = s ~ s %}"), Limit);
    // Values that live at the same time, each of them far below any limit.
    let kept =
        "{% set kept = [] %}{% for i in range(200) %}{% set t = s ~ i %}{% if kept.push(t) %}{% endif %}{% endfor %}";
    for (name, text) in [("ASCII", MEGABYTE), ("wide", WIDE)] {
        both(cases, &format!("many long texts, {name}"), &format!("{text}{kept}${{{{ kept.length }}}}"), Limit);
        for (kind, expression) in [
            ("upper", "s.toUpperCase() ~ i"),
            ("slice", "s.slice(i + 1)"),
            ("substring", "s.substring(i + 1)"),
            ("trim", "(' ' ~ s).trim()"),
            ("string", "[s] | string"),
            ("safe", "s | safe"),
            ("capitalize", "s | capitalize"),
            ("truncate", "s | truncate(s.length - i - 1, true)"),
            ("split", "s.split('a')"),
            ("list", "s.slice(0, 90000) | list"),
            ("wordcount", "s | wordcount"),
            ("title", "s | title"),
            ("striptags", "('<b>' ~ s) | striptags"),
            ("reverse", "s.slice(0, 90000) | reverse"),
            ("dump", "s | dump"),
            ("replace", "s | replace('a', 'b')"),
            ("replace with a pattern", "s.slice(0, 9000) | replace(r/./g, '$&')"),
            ("block", "s"),
            ("methods", "s.trim"),
            ("groups", "{a: s, b: s ~ i}"),
            ("macro", "m(s)"),
        ] {
            let source = format!(
                "{{% macro m(x) %}}${{{{ x }}}}{{% endmacro %}}{text}{{% set kept = [] %}}{{% for i in range(400) %}}{{% if kept.push({expression}) %}}{{% endif %}}{{% endfor %}}${{{{ kept.length }}}}"
            );
            both(cases, &format!("many texts by {kind}, {name}"), &source, Any);
        }
        both(cases, &format!("one long text, {name}"), &format!("{text}${{{{ s }}}}"), Fine);
        let all = format!("{text}{{% for i in range(60) %}}${{{{ s }}}}{{% endfor %}}");
        both(cases, &format!("as much output as can be, {name}"), &all, Limit);
        let fill = format!("{text}{{% for i in range(15) %}}${{{{ s }}}}{{% endfor %}}");
        both(cases, &format!("nearly as much output, {name}"), &fill, Any);
        let halves = format!("{text}${{{{ '😀'[0] }}}}{{% for i in range(15) %}}${{{{ s }}}}{{% endfor %}}");
        both(cases, &format!("output with half a character, {name}"), &halves, Any);
        let most = "{% set s = s ~ s %}".repeat(4);
        for (kind, use_) in [
            ("join", "[s] | join"),
            ("upper", "s.toUpperCase()"),
            ("title", "s | title"),
            ("dump", "s | dump"),
            ("indent", "s | indent"),
            ("length", "s | length"),
            ("wordcount", "s | wordcount"),
            ("urlize", "s | urlize"),
            ("striptags", "s | striptags"),
            ("escape", "s | escape"),
            ("urlencode", "s | urlencode"),
            ("truncate", "s | truncate(5)"),
            ("capitalize", "s | capitalize"),
            ("trim", "s | trim"),
            ("reverse", "s | reverse"),
            ("list", "s | list"),
            ("int", "s | int"),
            ("number", "s * 1"),
            ("comparison", "s < s ~ 'x'"),
            ("equality", "s == s ~ ''"),
            ("index", "s[1000000]"),
            ("lastIndexOf", "s.lastIndexOf('zz')"),
            ("indexOf", "s.indexOf('zz')"),
            ("half a character", "s ~ '😀'[0]"),
            ("test", "r/zz/.test(s)"),
            ("replaced", "s | replace(r/zz/, '')"),
            ("replaced everywhere", "s | replace(r/h/g, '')"),
            ("a key", "{a: 1}[s]"),
            ("sort", "[s, s ~ 1] | sort"),
            ("in", "'zz' in s"),
            ("select", "s | select('zz')"),
            ("batch", "s | batch(3)"),
            ("filter name", "[1] | select(s)"),
            ("attribute", "[1, 2] | sort(attribute=s)"),
            ("groupby", "[{a: s}, {a: s ~ 1}] | groupby('a')"),
            ("split", "s.split('h')"),
            ("loop", "s.split('zz').concat(s)"),
        ] {
            both(cases, &format!("{kind} of a very long text, {name}"), &format!("{text}{most}${{{{ {use_} }}}}"), Any);
        }
    }
    for (name, expression) in [
        ("center", "'x' | center(1000000000)"),
        ("indent", "'a\nb' | indent(1000000000)"),
        ("dump with an indent", "[[[1]]] | dump(1000000000)"),
        ("dump with a long indent", "range(90000) | dump('          ')"),
        ("truncate", "'x' | truncate(1000000000)"),
        ("batch", "[1] | batch(1000000000, 0)"),
        ("slice filter", "[1] | slice(1000000000)"),
        ("round", "1.5 | round(1000000000)"),
        ("a tiny step", "range(0, 1, 0.0000001)"),
        ("a step of nothing", "range(0, 1, 0.0) | length"),
        ("a step that is lost", "range(9007199254740992, 9007199254740999, 0.1)"),
        ("a negative step", "range(0, -1000000000, -1)"),
        ("range to infinity", "range(1 / 0)"),
        ("range to nothing", "range(0 / 0)"),
        ("range of texts", "range('', 'zzzz', 'a')"),
        ("a record with a length", "{length: 1000000000} | list"),
        ("a record with a length, sorted", "{length: 1000000000} | sort"),
        ("a record with a length, joined", "{length: 1000000000} | join(',', 'a')"),
        ("a record with a length, selected", "{length: 1000000000} | select('odd')"),
        ("a record with a length, reversed", "{length: 1000000000} | reverse"),
        ("fixed digits", "(1.5).toFixed(1000000000)"),
        ("a large power", "9 ** 99999 ** 9"),
        ("fill", "[1].fill(0, 0, 1000000000)"),
        ("flat", "[[1]].flat(1000000000)"),
        ("copyWithin", "range(100000).copyWithin(1, 0, 1000000000)"),
    ] {
        both(cases, &format!("huge counts: {name}"), &format!("${{{{ {expression} }}}}"), Any);
    }
    both(cases, "a loop over a record with a length", "{% for i in {length: 1000000000} %}{% endfor %}", Any);
}

fn growth_of_arrays(cases: &mut Vec<Case>) {
    let looped =
        |step: &str| format!("{{% set a=[1,2] %}}{{% for i in range(60) %}}{step}{{% endfor %}}${{{{ a.length }}}}");
    for (name, step) in [
        ("doubling with concat", "{% set a = a.concat(a) %}"),
        ("doubling with push", "{% if a.push(a.slice(), a.slice()) %}{% endif %}"),
        ("doubling with splice", "{% if a.splice(0, 0, 1, 2, 3, 4, 5, 6, 7, 8) %}{% endif %}"),
        ("doubling with flat", "{% set a = [a, a].flat() %}"),
        ("doubling with batch", "{% set a = a | batch(1000, 0) %}{% set a = a.flat() %}"),
        ("doubling with split", "{% set a = (a | join('x,x,x')).split('x') %}"),
    ] {
        both(cases, name, &looped(step), Any);
    }
    for (name, expression) in [
        ("printed", "a"),
        ("joined", "a | join"),
        ("dumped", "a | dump"),
        ("compared", "a < a"),
        ("equal to text", "a == 'x'"),
        ("equal", "a == a"),
        ("sorted", "[a, a] | sort"),
        ("flattened", "a.flat(100)"),
        ("summed", "[a, a] | sum"),
        ("as a number", "a * 1"),
        ("as a key", "{x: 1}[a]"),
        ("pushed", "[].push(a)"),
        ("searched", "a.includes(a)"),
        ("listed", "a | list | length"),
        ("pushed and returned", "[[].push(1), a]"),
    ] {
        both(cases, &format!("shared arrays {name}"), &format!("{TWICE}${{{{ {expression} }}}}"), Any);
    }
    both(
        cases,
        "shared arrays in records",
        "{% set a = {x: 1} %}{% for i in range(40) %}{% set a = {x: a, y: a} %}{% endfor %}${{ a | dump }}",
        Limit,
    );
    both(cases, "shared arrays given away", &format!("{TWICE}${{{{ a.push(1) }}}}${{{{ a }}}}"), Limit);
    one(cases, Dialect::Nunjitsu, "a value of shared arrays", "${{ [range(9)] }}", Fine);
    let kept = |expression: &str| {
        format!(
            "{MANY}{{% set kept = [] %}}{{% for i in range(1000) %}}{{% if kept.push({expression}) %}}{{% endif %}}{{% endfor %}}${{{{ kept.length }}}}"
        )
    };
    for (name, expression) in [
        ("slice", "a.slice(i)"),
        ("concat", "a.concat([])"),
        ("list", "a | list"),
        ("range", "range(99999)"),
        ("reverse", "a | reverse"),
        ("sort", "a | sort"),
        ("batch", "a | batch(2)"),
        ("slices", "a | slice(50000)"),
        ("groups", "a | groupby('x')"),
        ("selected", "a | select('odd')"),
        ("split", "(a | join(',')).split(',')"),
        ("cyclers", "cycler(1, 2, 3, 4, 5, 6, 7, 8, 9)"),
        ("joiners", "joiner('-')"),
        ("nested", "[[[[[[[[i]]]]]]]]"),
        ("records", "{a: {b: {c: {d: i}}}}"),
        ("match details", "'abc'.match(r/(a)(b)(c)/)"),
        ("methods", "a.slice"),
    ] {
        both(cases, &format!("many arrays by {name}"), &kept(expression), Any);
    }
    let turns = |body: &str| format!("{{% for i in range(90000) %}}{body}{{% endfor %}}");
    for (name, body) in [
        ("new arrays", "{% set a = [i, i] %}{% if keep.push(a) %}{% endif %}"),
        ("new records", "{% set a = {a: i, b: i} %}{% if keep.push(a) %}{% endif %}"),
        ("changed arrays", "{% set a = [] %}{% if a.push(i) %}{% endif %}"),
        ("changed arrays kept", "{% set a = [] %}{% if a.push(i) and keep.push(a) %}{% endif %}"),
        ("cyclers", "{% set c = cycler(i, i, i) %}"),
        ("joiners", "{% set c = joiner(i) %}"),
        ("macros", "{% macro m(a) %}x{% endmacro %}"),
        ("callers", "{% macro m() %}${{ caller() }}{% endmacro %}{% call m() %}${{ i }}{% endcall %}"),
        ("patterns that remember", "{% if r/a/g.test('aaa') %}{% endif %}"),
        ("captures", "{% set x %}${{ i }}{% endset %}"),
        ("pieces", "{% if keep.push('a,b'.split(',')) %}{% endif %}"),
        ("methods", "{% if keep.push(keep.slice, 'abc'.slice) %}{% endif %}"),
        ("numbers as text", "{% if keep.push(i ~ '') %}{% endif %}"),
        ("unshift", "{% if keep.unshift(i) %}{% endif %}"),
        ("shift", "{% if big.shift() %}{% endif %}"),
    ] {
        let source = format!("{{% set keep = [] %}}{{% set big = range(90000) %}}{}", turns(body));
        both(cases, &format!("a loop of {name}"), &source, Any);
    }
    for (name, expression) in [
        ("dictsort", "{b: a, a: a} | dictsort | length"),
        ("groupby", "a | groupby('x') | length"),
        ("sort by a path", "a | sort(false, false, 'a.b.c') | length"),
        ("sort of arrays", "[a, a, a, a, a, a, a, a] | sort | length"),
        ("sort of texts", "(a | join(',')).split(',') | sort | length"),
        ("sort method", "a.sort().length"),
        ("sum by a path", "a | sum('x')"),
        ("in", "'x' in a"),
        ("sum of membership", "a | select('in', a) | length"),
        ("many equal", "a | select('equalto', a) | length"),
        ("joined often", "[a, a, a, a, a, a, a, a] | join"),
        ("dumped", "[a, a, a, a, a, a, a, a] | dump(4)"),
        ("random", "a | random"),
        ("last", "a | last"),
        ("batches of one", "a | batch(1) | length"),
    ] {
        both(cases, &format!("many elements: {name}"), &format!("{MANY}${{{{ {expression} }}}}"), Any);
    }
    both(
        cases,
        "a loop in a loop",
        &format!("{MANY}{{% for i in a %}}{{% for i in a %}}{{% endfor %}}{{% endfor %}}"),
        Limit,
    );
    both(
        cases,
        "a loop that grows what it walks",
        "{% set a = [1] %}{% for i in a %}{% if a.push(i) %}{% endif %}{% endfor %}",
        Any,
    );
    let names: String = (0..60_000).map(|index| format!("{{% set n{index} = n{} %}}", index / 2)).collect();
    both(cases, "many variables", &names, Any);
    let keys: String = (0..90_000).map(|index| format!("k{index}: 1,")).collect();
    both(cases, "many keys", &format!("${{{{ {{ {keys} z: 1 }} | dictsort | length }}}}"), Any);
    let same: String = "k: 1,".repeat(90_000);
    both(cases, "one key many times", &format!("${{{{ {{ {same} k: 1 }} | dump }}}}"), Any);
    let arguments = "1,".repeat(100_000);
    both(cases, "many arguments", &format!("{{% macro m(a) %}}{{% endmacro %}}${{{{ m({arguments} 1) }}}}"), Any);
    let keywords: String = (0..60_000).map(|index| format!("k{index}=1,")).collect();
    both(
        cases,
        "many keyword arguments",
        &format!("{{% macro m(a) %}}{{% endmacro %}}${{{{ m({keywords} z=1) }}}}"),
        Any,
    );
    let parameters: String = (0..60_000).map(|index| format!("p{index}={index},")).collect();
    both(
        cases,
        "many parameters",
        &format!("{{% macro m({parameters} z=1) %}}{{% endmacro %}}${{{{ m() }}}}${{{{ m(p9=1) }}}}"),
        Any,
    );
    let targets: String = (0..60_000).map(|index| format!("t{index},")).collect();
    both(cases, "many loop targets", &format!("{{% for {targets} z in [[1], [2], [3]] %}}{{% endfor %}}"), Any);
    both(cases, "many targets of one assignment", &format!("{{% set {targets} z = 1 %}}"), Any);
    let branches: String = (0..60_000).map(|index| format!("{{% case {index} %}}x")).collect();
    both(cases, "many cases", &format!("{{% switch 'y' %}}{branches}{{% endswitch %}}"), Any);
    let blocks: String = (0..30_000).map(|index| format!("{{% block b{index} %}}x{{% endblock %}}")).collect();
    both(cases, "many blocks", &blocks, Any);
}

fn recursion(cases: &mut Vec<Case>) {
    let fan: String = (1..64)
        .map(|level| format!("{{% macro m{level}() %}}${{{{ m{0}() }}}}${{{{ m{0}() }}}}{{% endmacro %}}", level - 1))
        .collect();
    both(cases, "macros that call twice", &format!("{{% macro m0() %}}x{{% endmacro %}}{fan}${{{{ m63() }}}}"), Limit);
    both(
        cases,
        "macros that call each other",
        "{% macro a() %}${{ b() }}{% endmacro %}{% macro b() %}${{ a() }}{% endmacro %}${{ a() }}",
        Limit,
    );
    both(cases, "a macro that gives itself", "{% macro a(f) %}${{ f(f) }}{% endmacro %}${{ a(a) }}", Limit);
    both(cases, "a macro in its own default", "{% macro a(x=a()) %}x{% endmacro %}${{ a() }}", Limit);
    both(
        cases,
        "callers of callers",
        "{% macro m() %}{% call m() %}${{ caller() }}{% endcall %}{% endmacro %}{% call m() %}x{% endcall %}",
        Limit,
    );
    both(
        cases,
        "a caller that calls on",
        "{% macro m() %}${{ caller() }}${{ caller() }}{% endmacro %}{% macro n(d) %}{% if d > 0 %}{% call m() %}${{ n(d - 1) }}{% endcall %}{% endif %}{% endmacro %}${{ n(100) }}",
        Limit,
    );
    both(cases, "a definition calling itself", "${{ 1 | again }}", Limit);
    both(cases, "a definition calling itself twice", "${{ fan(1) }}", Limit);
    both(cases, "definitions calling each other", "${{ ping(1) }}", Any);
    both(
        cases,
        "macros within macros",
        &format!("{}x{}", "{% macro m() %}".repeat(400), "{% endmacro %}".repeat(400)),
        Any,
    );
    both(
        cases,
        "recursion that is deep but not too deep",
        "{% macro f(n) %}{% if n > 0 %}${{ f(n - 1) }}{% endif %}{% endmacro %}${{ f(40) }}",
        Fine,
    );
    both(
        cases,
        "recursion with text",
        &format!(
            "{MEGABYTE}{{% macro f(n, s) %}}${{{{ s }}}}{{% if n > 0 %}}${{{{ f(n - 1, s ~ n) }}}}{{% endif %}}{{% endmacro %}}${{{{ f(60, s) }}}}"
        ),
        Limit,
    );
    both(
        cases,
        "captures within captures",
        &format!("{MEGABYTE}{}${{{{ s }}}}{}", "{% set x %}${{ s }}".repeat(60), "{% endset %}".repeat(60)),
        Limit,
    );
}

fn regular_expressions(cases: &mut Vec<Case>) {
    let distinct = |count: usize, pattern: &dyn Fn(usize) -> String| -> String {
        (0..count).map(|index| format!("${{{{ r/{}/.test(word) }}}}", pattern(index))).collect()
    };
    for (name, count, pattern) in [
        ("small", 60_000, &(|index| format!("a{index}")) as &dyn Fn(usize) -> String),
        ("with counts", 4_000, &|index| format!("a{{1000}}b{{{}}}", index % 900 + 1)),
        ("with large counts", 2_000, &|index| format!("(?:a{{100}}{index}){{100}}")),
        ("with classes and counts", 2_000, &|index| format!(r"[^\d{index}]{{100}}")),
        ("with words and counts", 2_000, &|index| format!(r"(\w\W\s\S{index}){{50}}")),
        ("with case and counts", 2_000, &|index| format!(r"(é[à-ÿ]{index}){{50}}")),
        ("with groups", 2_000, &|index| format!("{}{index}", "(a)".repeat(200))),
        ("with alternatives", 2_000, &|index| (0..500).map(|n| format!("{n}x{index}")).collect::<Vec<_>>().join("|")),
        ("that look around", 4_000, &|index| format!("(?=a{{1000}}){index}")),
        ("that refer back", 4_000, &|index| format!(r"(a{{500}})\1{index}")),
        ("that are invalid", 20_000, &|index| format!("a{{1001}}{index}{{1001}}(")),
    ] {
        both(cases, &format!("many patterns {name}"), &distinct(count, pattern), Any);
    }
    for (name, pattern) in [
        ("counts of counts", "a{1000}{1000}{1000}"),
        ("counts of classes", r"(?:[^a]{1000}){1000}"),
        ("counts of words", r"\w{1000}\W{1000}"),
        ("counts of anything", r".{0,1000}.{0,1000}.{0,1000}b"),
        ("groups and counts", "(?:(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)){200}b"),
        ("optional steps", "(a?){500}a{500}b"),
        ("anything, then a count", ".*a.{500}b"),
        ("alternatives that overlap", "(a|aa|aaa|aaaa)*b"),
        ("a look behind", "(?<=a{500})b"),
        ("a look behind anything", "(?<=a.*)b"),
        ("looks in looks", "(?=(?=(?=(?=a*b)*)*)*)*b"),
        ("a reference", r"(a*)\1\1\1b"),
        ("references in a row", r"(a+)(a+)(a+)\1\2\3b"),
        ("a count of a reference", r"(?:(a*)\1){100}b"),
        ("empty turns", "(a*)*(a*)*(a*)*b"),
        ("lazy turns", "(a*?)*?(a*?)*?b"),
        ("a line at a time", "^(.*?,){40}P"),
    ] {
        both(cases, &format!("a pattern with {name}"), &format!("${{{{ r/{pattern}/.test(word) }}}}"), Any);
        both(
            cases,
            &format!("a pattern with {name}, everywhere"),
            &format!("${{{{ word | replace(r/{pattern}/g, 'x') }}}}"),
            Any,
        );
    }
    both(cases, "a pattern of many groups", &format!("${{{{ r/{}/.test(word) }}}}", "(a)".repeat(4_000)), Any);
    both(
        cases,
        "a pattern of many groups, everywhere",
        &format!("${{{{ word | replace(r/{}|b/g, 'x') }}}}", "(a)".repeat(4_000)),
        Any,
    );
    both(cases, "a pattern of many classes", &format!("${{{{ r/{}/.test(word) }}}}", r"[^\d]".repeat(3_000)), Any);
    both(
        cases,
        "a class of many ranges",
        &format!(
            "${{{{ r/[{}]/i.test(word) }}}}",
            (0x400..0x1c00).step_by(2).filter_map(char::from_u32).collect::<String>()
        ),
        Any,
    );
    both(
        cases,
        "a pattern again and again",
        "{% for i in range(90000) %}{% if r/(?=a)a{50}b/.test(word) %}{% endif %}{% endfor %}",
        Any,
    );
    both(
        cases,
        "a search that goes over all again and again",
        "{% for i in range(90000) %}{% if r/b/.test(word) %}{% endif %}{% endfor %}",
        Any,
    );
    both(cases, "a quadratic search", "${{ word | replace(r/a*b/g, 'x') | length }}", Any);
    both(cases, "a quadratic search with a count", "${{ word | replace(r/a{10,}b/g, 'x') | length }}", Any);
}

fn sources(cases: &mut Vec<Case>) {
    const MANY_UNITS: usize = 4 * 1024 * 1024;
    let fill = |piece: &str| piece.repeat(MANY_UNITS / piece.len());
    for piece in [
        "{",
        "}",
        "{{",
        "${{",
        "{%",
        "{#",
        "#}",
        "%}",
        "}}",
        "-",
        "\n",
        "'",
        "\"",
        "{%-",
        "-%}",
        "x",
        "é",
        "名",
        "${{}}",
        "${{a}}",
        "${{1}}",
        "{# #}",
        "{%%}",
        "{%if 1%}",
        "{%endif%}",
        "{%for a in b%}",
        "{%else%}",
        "{%raw%}",
        "{%endraw%}",
        "{%raw%}{%endraw%}",
        "{%set a=1%}",
        "{%set a%}",
        "{%macro a()%}",
        "{%call a()%}",
        "{%filter a%}",
        "{%block a%}",
        "{%switch a%}",
        "{%case 1%}",
        "{%verbatim%}",
        "{% raw",
        "${{'",
        "${{ r/",
        "${{ a |",
        "{%elif 1%}",
        "{%unknown%}",
        "{%include 'a'%}",
        "${{ a is b }}",
        "${{ 'a' }}",
        "${{ r/a/ }}",
        "  {%if 1%}\n",
    ] {
        both(cases, &format!("a source of {piece:?}"), &fill(piece), Any);
    }
    for piece in [
        "(",
        "[",
        "{",
        ")",
        "a",
        "1",
        "9",
        ".",
        ",",
        "|",
        "-",
        "+",
        "~",
        "not ",
        "a ",
        "a,",
        "a|b",
        "a.",
        "a(",
        "a[",
        "'' ",
        "'a'",
        "r/a/ ",
        "r/",
        "a+",
        "a-",
        "a~",
        "a*",
        "a//",
        "a%",
        "a**",
        "a==",
        "a<",
        "a and ",
        "a or ",
        "a in ",
        "a is b ",
        "a if ",
        "a if b else ",
        "[a,",
        "{a:1,",
        "{a:",
        "a:",
        "a=",
        "'",
        "\\",
        "é",
        " ",
        "\n",
        "a[1:",
        "1.",
        "1.5.",
        "e",
        "1e9",
        "[]",
        "{}",
        "()",
        "(a),",
        "[1],",
        "f(1),",
        "a.b",
        ".a",
        "|abs",
        "[0]",
        "[0:1]",
        "(1)",
        " in[1]",
    ] {
        both(cases, &format!("an expression of {piece:?}"), &format!("${{{{ a{} }}}}", fill(piece).split_off(10)), Any);
        both(
            cases,
            &format!("a condition of {piece:?}"),
            &format!("{{% if {} %}}x{{% endif %}}", piece.repeat(100_000)),
            Any,
        );
        both(cases, &format!("an assignment of {piece:?}"), &format!("{{% set a = {} %}}", piece.repeat(50_000)), Any);
    }
    for (name, open, core, close) in [
        ("parentheses", "(", "1", ")"),
        ("arrays", "[", "1", "]"),
        ("records", "{a:", "1", "}"),
        ("calls", "range(", "1", ")"),
        ("filters with arguments", "1|default(", "1", ")"),
        ("indices", "a[", "1", "]"),
        ("tests with arguments", "1 is eq(", "1", ")"),
        ("sums in parentheses", "1+(", "1", ")"),
        ("inline ifs", "(1 if 1 else ", "1", ")"),
    ] {
        for depth in [40, 200, 100_000] {
            let source = format!("${{{{ {}{core}{} }}}}", open.repeat(depth), close.repeat(depth));
            both(cases, &format!("{depth} {name}"), &source, Any);
        }
    }
    for (name, open, close) in [
        ("ifs", "{% if 1 %}", "{% endif %}"),
        ("loops", "{% for i in [1, 2] %}", "{% endfor %}"),
        ("captures", "{% set x %}", "{% endset %}"),
        ("filters", "{% filter upper %}", "{% endfilter %}"),
        ("macros", "{% macro m() %}", "{% endmacro %}"),
        ("calls", "{% call m() %}", "{% endcall %}"),
        ("switches", "{% switch 1 %}{% case 1 %}", "{% endswitch %}"),
        ("raw", "{% raw %}", "{% endraw %}"),
        ("elifs", "{% if 0 %}{% elif 1 %}", "{% endif %}"),
        ("elses", "{% if 0 %}{% else %}", "{% endif %}"),
    ] {
        for depth in [30, 100, 100_000] {
            let source = format!("{}x{}", open.repeat(depth), close.repeat(depth));
            both(cases, &format!("{depth} {name} in one another"), &source, Any);
        }
        both(cases, &format!("{name} without an end"), &open.repeat(100_000), Any);
        both(cases, &format!("ends of {name}"), &close.repeat(100_000), Any);
    }
    let elifs = "{% elif 0 %}x".repeat(100_000);
    both(cases, "a chain of elifs", &format!("{{% if 0 %}}x{elifs}{{% endif %}}"), Any);
    both(cases, "an unclosed raw block and many ends", &format!("{{% raw %}}{}", "{% endraw".repeat(100_000)), Any);
    both(cases, "a long name", &format!("${{{{ {} }}}}", "n".repeat(2_000_000)), Any);
    both(cases, "a long filter name", &format!("${{{{ 1 | {} }}}}", "n".repeat(2_000_000)), Any);
    both(cases, "a long test name", &format!("${{{{ 1 is {} }}}}", "n".repeat(2_000_000)), Any);
    both(cases, "a long function name", &format!("${{{{ {}() }}}}", "n".repeat(2_000_000)), Any);
    both(cases, "a long tag name", &format!("{{% {} %}}", "n".repeat(2_000_000)), Any);
    both(cases, "a long member", &format!("${{{{ data.{}() }}}}", "n".repeat(2_000_000)), Any);
    both(cases, "a long text", &format!("${{{{ '{}' }}}}", "n".repeat(4_000_000)), Any);
    both(cases, "a long number", &format!("${{{{ {} }}}}", "9".repeat(4_000_000)), Any);
    both(cases, "many unknown filters", &fill("${{a|uper}}"), Any);
    both(cases, "many unknown functions", &fill("${{ragne()}}").split_off(5), Any);
    both(cases, "one line with a mistake at its end", &format!("{}${{{{ a b }}}}", "x".repeat(4_000_000)), Any);
    both(cases, "many lines with a mistake at the end", &format!("{}${{{{ a b }}}}", "\n".repeat(4_000_000)), Any);
    both(cases, "mistakes everywhere", &fill("${{a b}}\n"), Any);
    let unknown: String = (0..200_000).map(|index| format!("${{{{a|uper{index}}}}}")).collect();
    both(cases, "many unknown filters of different names", &unknown, Any);
    both(cases, "a call of a long path", &format!("{{% call a{}() %}}x{{% endcall %}}", ".b".repeat(100_000)), Any);
    both(cases, "one tag with much in it", &format!("{{% if 1 %}}{}{{% endif %}}", "${{a}}".repeat(400_000)), Any);
    both(cases, "too long a source", &"x".repeat(MANY_UNITS + 1), Limit);
    for (name, text) in [
        ("spaces", " "),
        ("angles", "<"),
        ("tags", "<a "),
        ("entities", "&lt;"),
        ("at signs", "@"),
        ("dots", "."),
        ("addresses", "www.a.com@"),
        ("newlines", "\n"),
        ("words", "a "),
        ("comments", "<!--"),
        ("schemes", "http://"),
        ("dashes", "-"),
        ("returns", "\r\n"),
        ("sharp s", "ß"),
        ("dotted I", "İ"),
        ("domains", ".com"),
    ] {
        let long = fill(text).split_off(100 - 100 % text.len());
        for filter in [
            "striptags",
            "striptags(true)",
            "urlize",
            "wordcount",
            "title",
            "trim",
            "truncate(99)",
            "nl2br",
            "indent",
            "escape",
            "upper",
            "lower",
            "capitalize",
            "urlencode",
            "int",
            "float",
            "length",
            "dump",
        ] {
            if ["nl2br", "escape", "urlencode", "int", "float", "length", "dump", "trim"].contains(&filter)
                && text.len() > 1
            {
                continue;
            }
            one(
                cases,
                Dialect::Nunjitsu,
                &format!("{filter} of {name}"),
                &format!("{{% filter {filter} %}}{long}{{% endfilter %}}"),
                Any,
            );
        }
    }
}

/// What only the older dialect has.
fn older_methods(cases: &mut Vec<Case>) {
    for (name, source) in [
        ("repeat", "${{ 'x'.repeat(1000000000) }}".to_owned()),
        ("repeat of repeat", "${{ 'x'.repeat(1000).repeat(1000).repeat(1000) }}".to_owned()),
        ("padStart", "${{ 'x'.padStart(1000000000) }}".to_owned()),
        ("padEnd", "${{ 'x'.padEnd(1000000000, '名') }}".to_owned()),
        ("padStart, just allowed", "${{ 'x'.padStart(30000000, '名').length }}".to_owned()),
        ("repeat, just allowed", "${{ 'x'.repeat(63000000).length }}".to_owned()),
        ("repeat, wide", "${{ '名'.repeat(21000000).length }}".to_owned()),
        ("repeat, half", "${{ '😀'[0].repeat(21000000).length }}".to_owned()),
        ("replaceAll", "${{ 'x'.repeat(10000).replaceAll('x', 'x'.repeat(10000)) }}".to_owned()),
        ("replaceAll of nothing", "${{ 'x'.repeat(100000).replaceAll('', 'x'.repeat(10000)) }}".to_owned()),
        ("replaceAll with surroundings", "${{ 'x'.repeat(100000).replaceAll('x', \"$`$'\") }}".to_owned()),
        ("split", "${{ 'x'.repeat(10000000).split('') | length }}".to_owned()),
        ("split at a pattern", "${{ 'x'.repeat(10000000).split(r/(x)/) | length }}".to_owned()),
        ("match", "${{ 'x'.repeat(10000000).match(r/x/g) | length }}".to_owned()),
        ("match with groups", format!("${{{{ 'x'.repeat(300000).match(r/{}/g) | length }}}}", "(x)?".repeat(400))),
        ("matchAll", "${{ 'x'.repeat(10000000).matchAll(r/(x)/g) | length }}".to_owned()),
        ("matchAll with groups", format!("${{{{ 'x'.repeat(300000).matchAll(r/{}/g) | length }}}}", "(x)?".repeat(400))),
        ("match of a text", "{% for i in range(90000) %}{% if 'x'.match('x{' ~ i ~ '}') %}{% endif %}{% endfor %}".to_owned()),
        ("match of a large text", "{% for i in range(900) %}{% if 'x'.match('(?:x{100}' ~ i ~ '){100}') %}{% endif %}{% endfor %}".to_owned()),
        ("match kept", "{% set k = [] %}{% for i in range(900) %}{% if k.push('x'.match('(?:x?){100}' ~ i)) %}{% endif %}{% endfor %}".to_owned()),
        ("normalize", "${{ 'ﷺ'.repeat(2000000).normalize('NFKD').length }}".to_owned()),
        ("anchor", "${{ 'x'.anchor('\"'.repeat(10000000)).length }}".to_owned()),
        ("fill", "${{ range(100000).fill(range(100000)) | dump }}".to_owned()),
        ("map", "{% macro m(x) %}${{ x }}${{ x }}{% endmacro %}${{ range(100000).map(m) | length }}".to_owned()),
        ("map of long texts", format!("{MEGABYTE}{{% macro m(x) %}}${{{{ 1 }}}}{{% endmacro %}}{{% macro n(x, i) %}}${{{{ s }}}}${{{{ i }}}}{{% endmacro %}}${{{{ range(1000).map(n) | length }}}}")),
        ("reduce", "{% macro m(x, y) %}${{ x }}${{ x }}{% endmacro %}${{ range(100).reduce(m, 'x') }}".to_owned()),
        ("sort by a macro", "{% macro m(x, y) %}1{% endmacro %}${{ range(100000).sort(m) | length }}".to_owned()),
        ("map that calls itself", "{% macro m(x) %}${{ [1].map(m) }}{% endmacro %}${{ [1].map(m) }}".to_owned()),
        ("forEach that grows", "{% set a = [1] %}{% macro m(x) %}${{ a.push(1) }}{% endmacro %}${{ a.forEach(m) }}".to_owned()),
        ("toString", format!("{TWICE}${{{{ a.toString() }}}}")),
        ("toSorted", "{% set a = range(90000) %}{% set k = [] %}{% for i in range(900) %}{% if k.push(a.toSorted()) %}{% endif %}{% endfor %}".to_owned()),
        ("entries", "{% set k = [] %}{% for i in range(900) %}{% if k.push(range(90000).entries()) %}{% endif %}{% endfor %}".to_owned()),
        ("toFixed", "${{ (1.5).toFixed(100) }}".to_owned()),
        ("toString of a number", "${{ (1e300).toString(2) }}".to_owned()),
        ("JSON of many values", format!("{{% raw %}}[{}0]{{% endraw %}}", "[],".repeat(900_000))),
        ("JSON of many records", format!("{{% raw %}}[{}0]{{% endraw %}}", "{\"a\":{}},".repeat(400_000))),
        ("JSON of many numbers", format!("{{% raw %}}[{}0]{{% endraw %}}", "1,".repeat(1_900_000))),
        ("JSON that nests", format!("{{% raw %}}{}{{% endraw %}}", "[".repeat(4_000_000))),
        ("JSON of a long value", "${{ 'x'.repeat(15000000) }}".to_owned()),
        ("dumped JSON of many values", "${{ range(99999).map(range) }}".to_owned()),
    ] {
        one(cases, Dialect::Nunjucks3, name, &source, Any);
    }
}
