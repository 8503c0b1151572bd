//! What Handlebars.js 4.7.8 gives for the same template and data, without escaping; and where this differs.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use understudy_handlebars::{Helpers, Template};

fn data() -> Value {
    json!({
        "parameters": {
            "s": "str", "n": 1, "m": 2, "f": 1.5, "t": true, "z": false, "nil": null, "e": "", "zero": 0,
            "list": ["a", "b"], "nums": [1, [2, [null, 3]]], "obj": {"a": 1, "b": {"c": "d"}}, "eo": {}, "ea": [],
            "objs": [{"k": "x", "v": 1}, {"k": "y", "v": 2}], "html": "<b>&\"'", "my-key": "dash", "sp ace": "sp",
            "big": 1e21, "nested": [[1, 2], [3]],
        },
        "steps": {"my-step": {"output": {"url": "http://x"}}},
    })
}

fn rendered(source: &str) -> String {
    let helpers = Helpers::default().with("projectSlug", |arguments| {
        let text = arguments.first().copied().flatten().and_then(Value::as_str).ok_or("no text")?;
        Ok(Some(format!("slug:{text}").into()))
    });
    match Template::parse(source).and_then(|template| template.render(&data(), &helpers)) {
        Ok(text) => text,
        Err(error) => format!("error: {error}"),
    }
}

fn check(rows: &[(&str, &str)]) {
    for (source, expected) in rows {
        assert_eq!(rendered(source), *expected, "{source}");
    }
}

#[test]
fn values_become_text_as_in_javascript() {
    check(&[
        ("plain", "plain"),
        ("{{parameters.n}} {{parameters.f}} {{parameters.big}}", "1 1.5 1e+21"),
        // Two numbers with nothing between them are added, for that is what the compiled template does.
        ("{{parameters.n}}{{parameters.m}}", "3"),
        ("{{parameters.t}}{{parameters.z}}", "1"),
        ("{{#if parameters.t}}{{parameters.n}}{{parameters.m}}{{/if}}", "3"),
        ("{{parameters.n}} {{parameters.m}}", "1 2"),
        ("x{{parameters.nil}}y{{parameters.nope}}z{{parameters.nope.deep.er}}", "xyz"),
        ("{{parameters.list}} {{parameters.nums}} {{parameters.obj}}", "a,b 1,2,,3 [object Object]"),
        ("{{{parameters.html}}} {{&parameters.html}} {{parameters.html}}", "<b>&\"' <b>&\"' <b>&\"'"),
        ("{{parameters.list.length}} {{parameters.s.length}} {{parameters.list.[1]}} {{parameters.s.[1]}}", "2 3 b t"),
        ("{{parameters.my-key}} {{parameters.[sp ace]}} {{steps.my-step.output.url}}", "dash sp http://x"),
        ("{{this}} {{this.parameters.s}} {{./parameters.s}} {{parameters/s}}", "[object Object] str str str"),
        ("{{@root.parameters.s}}", "str"),
        ("{{constructor}}{{parameters.__proto__}}{{parameters.list.push}}{{parameters.s.toUpperCase}}", ""),
        ("{{foo}}|", "|"),
        ("\\{{parameters.s}} {{parameters.s}}", "{{parameters.s}} str"),
        ("\\\\{{parameters.s}}", "\\str"),
    ]);
}

#[test]
fn blocks() {
    check(&[
        ("{{#if parameters.e}}a{{else}}b{{/if}}{{#if parameters.zero}}a{{else}}b{{/if}}", "bb"),
        ("{{#if parameters.zero includeZero=true}}a{{/if}}{{#if parameters.ea}}a{{else}}b{{/if}}", "ab"),
        ("{{#if parameters.eo}}a{{/if}}{{#unless parameters.z}}u{{/unless}}", "au"),
        ("{{#if (eq parameters.s 'str')}}yes{{else if parameters.t}}mid{{else}}no{{/if}}", "yes"),
        ("{{#if (not parameters.s)}}yes{{else if parameters.t}}mid{{else}}no{{/if}}", "mid"),
        ("{{#each parameters.list}}{{@index}}{{this}}{{/each}}", "0a1b"),
        ("{{#each parameters.list}}{{.}}{{#unless @last}},{{/unless}}{{/each}}", "a,b"),
        ("{{#each parameters.obj}}{{@key}}={{this}};{{/each}}", "a=1;b=[object Object];"),
        ("{{#each parameters.obj as |v k|}}{{k}}={{v}};{{/each}}", "a=1;b=[object Object];"),
        ("{{#each parameters.nope}}x{{else}}none{{/each}}{{#each parameters.s}}x{{else}}str{{/each}}", "nonestr"),
        // `..` skips blocks that don't change the context.
        ("{{#if parameters.s}}{{../parameters.s}}|{{parameters.s}}{{/if}}", "|str"),
        (
            "{{#each parameters.objs}}{{k}}{{../parameters.s}}{{#if v}}{{../parameters.s}}{{/if}}{{/each}}",
            "xstrstrystrstr",
        ),
        (
            "{{#each parameters.objs}}{{#each ../parameters.list}}{{../k}}{{this}}{{../../parameters.s}} {{/each}}{{/each}}",
            "xastr xbstr yastr ybstr ",
        ),
        ("{{#each parameters.list}}{{parameters.s}}{{/each}}", ""),
        ("{{#each parameters.nested}}{{#each this}}{{@../index}}{{this}}{{/each}};{{/each}}", "12;4;"),
        ("{{#with parameters.obj}}{{a}}{{b.c}}{{../parameters.s}}{{/with}}", "1dstr"),
        ("{{#with parameters.obj as |o|}}{{o.a}}{{a}}{{/with}}", "2"),
        ("{{#with parameters.eo}}x{{else}}y{{/with}}{{#with parameters.nil}}x{{else}}y{{/with}}", "xy"),
        ("{{#foo}}x{{else}}none{{/foo}}", "none"),
        (
            "{{#with parameters}}{{#list}}[{{this}}]{{/list}}{{#t}}T{{/t}}{{#s}}<{{this}}>{{/s}}{{/with}}",
            "[a][b]T<str>",
        ),
        ("a\n{{#if parameters.t}}\n  yes\n{{/if}}\nb", "a\n  yes\nb"),
        ("{{#each parameters.list}}\n- {{this}}\n{{/each}}\nend", "- a\n- b\nend"),
        ("a {{~parameters.s~}} b", "astrb"),
        ("{{! comment }}a{{!-- comm {{x}} --}}b", "ab"),
    ]);
}

#[test]
fn helpers() {
    check(&[
        ("{{json parameters.list}} {{json parameters.nope}} {{json parameters.nil}}", "[\"a\",\"b\"]  null"),
        ("{{json parameters.big}} {{json parameters.html}} {{json 'a' x=1}}", "1e+21 \"<b>&\\\"'\" \"a\""),
        ("{{json (lookup parameters 'obj')}}", "{\"a\":1,\"b\":{\"c\":\"d\"}}"),
        ("{{not parameters.ea}} {{not parameters.eo}} {{not parameters.zero}} {{not 'x'}}", "true false true false"),
        ("{{eq parameters.s 'str'}} {{eq parameters.n 1}} {{eq parameters.n '1'}}", "true true false"),
        ("{{eq parameters.obj parameters.obj}} {{eq parameters.eo parameters.ea}}", "true false"),
        (
            "{{eq parameters.nope undefined}} {{eq parameters.nil null}} {{eq parameters.nil undefined}}",
            "true true false",
        ),
        ("{{not}} {{eq}} {{eq parameters.s}}", "false false false"),
        ("{{eq (json parameters.list) '[\"a\",\"b\"]'}}", "true"),
        ("{{#eq parameters.s 'str'}}block{{/eq}}{{#json parameters.list}}block{{/json}}", "true[\"a\",\"b\"]"),
        ("{{lookup parameters 's'}} {{lookup parameters.list 1}} {{lookup parameters.nil 'x'}}", "str b "),
        ("{{log 'x'}}y", "y"),
        ("{{projectSlug parameters.s}}", "slug:str"),
    ]);
}

#[test]
fn mistakes_are_told_with_their_place() {
    check(&[
        ("{{foo 1}}", "error: Handlebars error at line 1, column 1: Missing helper: \"foo\""),
        ("a\n {{projectSlug 1}}", "error: Handlebars error at line 2, column 2: no text"),
        ("{{#if}}x{{/if}}", "error: Handlebars error at line 1, column 1: #if requires exactly one argument"),
        ("{{#with 1 2}}x{{/with}}", "error: Handlebars error at line 1, column 1: #with requires exactly one argument"),
        ("{{#each}}x{{/each}}", "error: Handlebars error at line 1, column 1: Must pass iterator to #each"),
        (
            "{{if parameters.s}}",
            "error: Handlebars error at line 1, column 1: if needs a block, as in {{#if x}}…{{/if}}",
        ),
        // Upstream looks partials up, and there are none.
        ("{{> part}}", "error: Handlebars error at line 1, column 1: partials can't be used in steps"),
        (
            "{{#*inline 'p'}}hi{{/inline}}",
            "error: Handlebars error at line 1, column 1: decorators can't be used in steps",
        ),
        (
            "{{json [1]}}",
            "error: Handlebars error at line 1, column 1: lists and objects can't be written in a template",
        ),
    ]);
    for source in
        ["{{parameters.s", "{{#if parameters.s}}", "{{/if}}", "{{else}}", "{{parameters.}}", "{{#if a}}{{/each}}"]
    {
        let error = Template::parse(source).unwrap_err();
        assert!(error.line() == Some(1) && error.column().is_some(), "{source}: {error}");
    }
    for source in ["{{#parameters.list}}x{{/parameters.list}}", "{{^foo}}x{{/foo}}"] {
        let error = Template::parse(source).unwrap_err();
        assert!(error.message().ends_with("use #if, #unless, #each or #with"), "{error}");
    }
}

#[test]
fn hostile_sources_end_in_an_error() {
    let each = |depth: usize| {
        let open: String = (0..depth).map(|level| format!("{{{{#each {}l}}}}", "../".repeat(level))).collect();
        open + &"{{/each}}".repeat(depth)
    };
    let list: Vec<u32> = (0..1000).collect();
    let text = "x".repeat(1 << 20);
    let data = json!({"l": list, "text": text});
    for source in [
        "{{#if a}}".repeat(5000) + &"{{/if}}".repeat(5000),
        "{{#if a}}".repeat(5000),
        format!("{{{{ json {}a{} }}}}", "(not ".repeat(3000), ")".repeat(3000)),
        "{{ json (not ".repeat(5000),
        format!("{{{{ json {}{} }}}}", "[".repeat(10_000), "]".repeat(10_000)),
        "(".repeat(30_000) + "{{x}}",
        "\\".repeat(100_000) + "{{x}}",
        "{{!--".repeat(20_000),
        "{{{{x}}}}".repeat(10_000),
        "{{a ".repeat(60_000),
        "\"{{ a.[ '".repeat(20_000),
        "x".repeat(300_000) + "{{x}}",
        each(4),
        "{{#each l}}{{../text}}{{/each}}".to_string(),
        "{{#each l}}{{json this}}{{json ../text}}{{/each}}".to_string(),
    ] {
        let result = Template::parse(&source).and_then(|template| template.render(&data, &Helpers::default()));
        assert!(result.is_err(), "{}", &source[..60.min(source.len())]);
    }
    // Many brackets in a text are no nesting.
    let many = format!("{}{{{{l.length}}}}", "(a) [b] ".repeat(500));
    assert!(
        Template::parse(&many)
            .and_then(|template| template.render(&data, &Helpers::default()))
            .unwrap()
            .ends_with("1000")
    );
}
