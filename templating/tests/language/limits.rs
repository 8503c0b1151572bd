//! No source and no data can exhaust the stack, the memory or the time of a render. The test threads have 2 MiB of
//! stack, as a server's worker threads do.

use serde_json::json;
use understudy_templating::{Context, Engine, ErrorKind, LimitKind, Limits};

/// Which limit a template runs into; `None` when it renders.
fn limit_of(engine: &Engine, template: &str) -> Option<LimitKind> {
    let context = Context::try_from(&json!({"a": 1, "s": "x"})).unwrap();
    match engine.render_str(template, &context) {
        Ok(_) => None,
        Err(error) => match error.kind() {
            ErrorKind::Limit(kind) => Some(kind),
            kind => panic!("{kind:?}: {error}"),
        },
    }
}

fn nested(open: &str, core: &str, close: &str, depth: usize) -> String {
    format!("${{{{ {}{core}{} }}}}", open.repeat(depth), close.repeat(depth))
}

#[test]
fn depth_of_expressions() {
    let shapes = [
        ("(", ")"),
        ("[", "]"),
        ("not ", ""),
        ("-(", ")"),
        ("{a: ", " }"),
        ("range(", ")"),
        ("1|default(", ")"),
        ("a[", "]"),
        ("(1 if 1 else ", ")"),
        ("1 + (", ")"),
        ("0 or (0 and (1 in (1 is eq(1 == (1 < (1 + (1 * (1 // (1 % (1 ** (", ")))))))))))"),
        ("0 or 1 and 1 in 1 == 1 < 1 + 1 * 1 // 1 % 1 ** (", ")"),
        ("", " + 1"),
        ("", " * 1"),
        ("", " // 1"),
        ("", " % 1"),
        ("", " or 0"),
        ("", " and 1"),
        ("", "|abs"),
        ("", ".a"),
        ("", "[0]"),
        ("", "[0:1]"),
        ("", " in [1]"),
    ];
    for (open, close) in shapes {
        for depth in [600, 10_000, 100_000] {
            let core = if close == " or 0" { "0" } else { "a" };
            let found = limit_of(&Engine::default(), &nested(open, core, close, depth));
            assert!(
                matches!(found, Some(LimitKind::NestingDepth | LimitKind::AstNodes | LimitKind::SourceCodeUnits)),
                "{open:?} … {close:?} × {depth}: {found:?}"
            );
        }
        // Deep, but not too deep: this must neither fail to parse nor overflow the stack.
        let template = nested(open, "a", close, 40);
        let parsed = Engine::default().parse(&template);
        assert!(parsed.is_ok(), "{open:?} … {close:?}: {parsed:?}");
    }
    assert_eq!(limit_of(&Engine::default(), &nested("", "1", " == 1", 10_000)), None);
}

#[test]
fn depth_of_statements() {
    let shapes = [
        ("{% if 1 %}", "{% endif %}"),
        ("{% for i in [1] %}", "{% endfor %}"),
        ("{% set x %}", "{% endset %}"),
        ("{% filter upper %}", "{% endfilter %}"),
        ("{% switch 1 %}{% case 1 %}", "{% endswitch %}"),
        ("{% macro m() %}", "{% endmacro %}"),
        ("{% call m() %}", "{% endcall %}"),
    ];
    for (open, close) in shapes {
        for depth in [600, 10_000] {
            let template = format!("{}x{}", open.repeat(depth), close.repeat(depth));
            assert_eq!(limit_of(&Engine::default(), &template), Some(LimitKind::NestingDepth), "{open:?}");
        }
    }
    let recursion = "{% macro f(n) %}{% if n > 0 %}${{ f(n - 1) }}{% endif %}{% endmacro %}";
    assert_eq!(limit_of(&Engine::default(), &format!("{recursion}${{{{ f(60) }}}}")), None);
    let found = limit_of(&Engine::default(), &format!("{recursion}${{{{ f(5000) }}}}"));
    assert_eq!(found, Some(LimitKind::NestingDepth));
}

#[test]
fn each_limit_stops_a_render() {
    let limits = Limits::default;
    let cases = [
        (limits().with_source_code_units(4), "hello", LimitKind::SourceCodeUnits),
        (limits().with_ast_nodes(3), "${{ 1 + 1 + 1 }}", LimitKind::AstNodes),
        (limits().with_work_units(100), "{% for i in range(50) %}${{ i }}{% endfor %}", LimitKind::WorkUnits),
        (limits().with_output_code_units(5), "${{ 'abcdef' }}", LimitKind::OutputCodeUnits),
        (limits().with_scratch_bytes(8), "${{ ('abcde' ~ 'fghij') | length }}", LimitKind::ScratchBytes),
        (limits().with_nesting_depth(5), "${{ ((((1)))) }}", LimitKind::NestingDepth),
        (limits(), "{% for i in range(2000000) %}{% endfor %}", LimitKind::WorkUnits),
        (limits(), "{% for i in range(40) %}{% set s = s ~ s %}{% endfor %}", LimitKind::WorkUnits),
        (
            limits(),
            "{% set b = [1,1,1,1,1,1,1,1] %}{% for i in range(9) %}{% set b = [b,b,b,b,b,b,b,b] %}{% endfor %}${{ b }}",
            LimitKind::WorkUnits,
        ),
    ];
    for (limits, template, expected) in cases {
        let engine = Engine::builder().limits(limits).build();
        assert_eq!(limit_of(&engine, template), Some(expected), "{template}");
    }
}

#[test]
fn capability_calls_are_counted() {
    let engine = Engine::builder()
        .limits(Limits::default().with_capability_calls(2))
        .global_fn("f", |_| Ok(understudy_templating::Value::Null))
        .build();
    assert_eq!(limit_of(&engine, "${{ f() }}${{ f() }}"), None);
    assert_eq!(limit_of(&engine, "${{ f() }}${{ f() }}${{ f() }}"), Some(LimitKind::CapabilityCalls));
}

#[test]
fn values_that_nest_too_deep_or_contain_themselves() {
    let message = |template: &str| Engine::default().render_str(template, &Context::new()).unwrap_err().to_string();
    let deep = "{% set a = [] %}{% for i in range(6000) %}{% set a = [a] %}{% endfor %}";
    assert!(message(deep).ends_with("Template value nesting cannot exceed 256 levels"));
    // A method that was taken from an array holds on to it.
    let methods = "{% set a = [] %}{% for i in range(90000) %}{% set a = [a.pop] %}{% endfor %}";
    assert!(message(methods).ends_with("Template value nesting cannot exceed 256 levels"));
    let cyclic = "{% set a = [] %}{% set b = [a] %}${{ a.push(b) }}";
    assert!(message(cyclic).ends_with("Cyclic template values are not supported"));
    // A chain that grows downwards is never too deep for an array that is made, only for one that is walked.
    let chain = "{% set top = [] %}{% set at = top %}{% for i in range(20000) %}{% set next = [] %}{% if at.push(next) %}{% set at = next %}{% endif %}{% endfor %}${{ top }}";
    assert!(message(chain).ends_with("Template value nesting cannot exceed 256 levels"));
}

#[test]
fn an_error_knows_its_place_and_line() {
    let error = Engine::default().parse("one\n  two ${{ 1 + }}\nthree").unwrap_err();
    assert_eq!((error.line(), error.column()), (Some(2), Some(15)));
    assert_eq!(error.source_line(), Some("  two ${{ 1 + }}"));
    assert_eq!(error.message(), "Unexpected expression token at end of input");
    assert_eq!(error.name(), "TemplateRenderError");
    assert_eq!(error.to_string(), "Template error at line 2, column 15: Unexpected expression token at end of input");
}

#[test]
fn pieces_of_a_text_are_counted_before_they_are_made() {
    // Ten million letters are one allowed value; ten million texts of one letter would be half a gigabyte and more.
    let big = r#"{% set s = "aaaaaaaaaa" %}{% for i in range(20) %}{% set s = s + s %}{% endfor %}"#;
    for expression in [
        r#"s | replace("a", "b")"#,
        r#"s | replace("", "")"#,
        "s | list",
        "s | batch(2)",
        r#"s.split("")"#,
        r#"s.split("a")"#,
        r#"s | replace("a", " ") | title"#,
    ] {
        let template = format!("{big}${{{{ ({expression}) | length }}}}");
        assert_eq!(limit_of(&Engine::default(), &template), Some(LimitKind::ScratchBytes), "{expression}");
    }
    let template = format!("{big}{{% for c in s %}}{{% endfor %}}");
    assert_eq!(limit_of(&Engine::default(), &template), Some(LimitKind::ScratchBytes));
}

/// On an engine that goes back without bounds these would not end, or overflow the stack.
#[test]
fn regular_expressions() {
    let context = Context::try_from(&json!({"s": format!("{}!", "a".repeat(20_000))})).unwrap();
    let engine = Engine::builder().build();
    assert_eq!(engine.render_str("${{ r/^(a+)+$/.test(s) }}", &context).unwrap(), "false");
    for (template, message) in [
        ("${{ r/(a*)*\\1b/.test(s) }}".to_string(), "needs too much backtracking"),
        ("${{ s | replace(r/(a*)*\\1b/, 'x') }}".to_string(), "needs too much backtracking"),
        (format!("${{{{ r/{}/.test(s) }}}}", "|".repeat(16_000)), "more than 1000 alternatives"),
        (format!("${{{{ r/{}{}/.test(s) }}}}", "(".repeat(8_000), ")".repeat(8_000)), "nested more than 60 levels"),
    ] {
        let error = engine.render_str(&template, &context).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let global = "${{ s | replace(r/(?=a)a/g, 'b') }}";
    assert_eq!(limit_of_with(&engine, global, &context), Some(LimitKind::WorkUnits));
}

fn limit_of_with(engine: &Engine, template: &str, context: &Context) -> Option<LimitKind> {
    match engine.render_str(template, context).unwrap_err().kind() {
        ErrorKind::Limit(kind) => Some(kind),
        _ => None,
    }
}
