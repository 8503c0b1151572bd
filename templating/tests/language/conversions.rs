//! JavaScript conversions, comparisons, scopes and slices.

use super::check;

#[test]
fn agrees_with_the_reference() {
    check(&[
        (
            "{% set x = 1 %}{% if  %}",
            "error: Template error at line 1, column 21: Unexpected expression token at end of input",
        ),
        (
            "{% if\n %}x{% endif %}",
            "error: Template error at line 1, column 6: Unexpected expression token at end of input",
        ),
        (
            "{% if n +   %}x{% endif %}",
            "error: Template error at line 1, column 10: Unexpected expression token at end of input",
        ),
        ("${{ n +   }}", "error: Template error at line 1, column 11: Unexpected expression token at end of input"),
        ("${{ n + }}", "error: Template error at line 1, column 9: Unexpected expression token at end of input"),
        ("${{n +}}", "error: Template error at line 1, column 7: Unexpected expression token at end of input"),
        (
            "{%if n + %}x{%endif%}",
            "error: Template error at line 1, column 9: Unexpected expression token at end of input",
        ),
        (
            "{%if n +%}x{%endif%}",
            "error: Template error at line 1, column 9: Unexpected expression token at end of input",
        ),
        (
            "{% if n + -%}x{%endif%}",
            "error: Template error at line 1, column 10: Unexpected expression token at end of input",
        ),
        ("${{ n + -}}", "error: Template error at line 1, column 9: Unexpected expression token at end of input"),
        (
            "{% set a = [1] %}${{ a.push(a) }}${{ a | join }}",
            "error: Template error at line 1, column 24: Cyclic template values are not supported",
        ),
        (
            "{% set a = [1] %}${{ a.push(a) }}${{ a == 1 }}",
            "error: Template error at line 1, column 24: Cyclic template values are not supported",
        ),
        (
            "{% set a = [1] %}${{ a.push(a) }}x{% set b = a | dump %}",
            "error: Template error at line 1, column 24: Cyclic template values are not supported",
        ),
        (
            "{% set a = [1] %}{% if a.push(a) %}x{% endif %}${{ a.length }}",
            "error: Template error at line 1, column 26: Cyclic template values are not supported",
        ),
        (
            "{% set a = [1] %}{% if a.push(a) %}x{% endif %}done",
            "error: Template error at line 1, column 26: Cyclic template values are not supported",
        ),
        (
            "{% set a = [] %}{% set b = [a] %}${{ a.push(b) }}",
            "error: Template error at line 1, column 40: Cyclic template values are not supported",
        ),
        (r#"${{ [1, nil, "b"] | sort | dump }}"#, r#""[null,1,\"b\"]""#),
        (r#"${{ [nil, 1, "b"] | sort | dump }}"#, r#""[null,1,\"b\"]""#),
        (r#"${{ ["b", 1] | sort | dump }}"#, r#""[\"b\",1]""#),
        (r#"${{ [true, 0, "0", nil, 2, "a"] | sort | dump }}"#, r#""[0,\"0\",null,true,2,\"a\"]""#),
        (r#"${{ [3, "2", 1, "a", "B"] | sort | dump }}"#, r#""[1,\"2\",3,\"a\",\"B\"]""#),
        ("${{ words | sort(case_sensitive=true) }}", r#"["C","a","b"]"#),
        ("{% set y=1 %}{% block b %}{% for i in [1] %}{% set y = 2 %}{% endfor %}{% endblock %}${{ y }}", r#""1""#),
        ("{% set n = undef %}[${{ n }}]", r#""[]""#),
        ("{% for i in [1] %}{% set n = undef %}[${{ n }}]{% endfor %}", r#""[]""#),
        ("{% macro m(n) %}[${{ n }}]{% endmacro %}${{ m() }}", r#""[]""#),
        ("{% for n in [undef] %}[${{ n }}]{% endfor %}", r#""[]""#),
        (r#"{% for a, b in ["xy"] %}${{ a }}${{ b }}{% endfor %}"#, r#""xy""#),
        (r#"{% for a, b in [{"0":"p"}] %}${{ a }}${{ b }}{% endfor %}"#, r#""p""#),
        ("${{ loop }}", "undefined"),
        ("{% macro m() %}x{% endmacro %}${{ m() is string }}${{ m() is escaped }}", r#""falsetrue""#),
        ("{% set x %}a{% endset %}${{ x is string }}${{ x is escaped }}", r#""truefalse""#),
        (
            r#"{% macro m() %}x{% endmacro %}${{ m() == "x" }} ${{ m() === "x" }} ${{ m() + 1 }} ${{ m().length }} ${{ m() in "xyz" }} ${{ "x" in m() }}"#,
            r#""true false x1 1 true false""#,
        ),
        ("{% set range = 5 %}${{ range }}", r#""5""#),
        (
            r#"${{ r/a/ == "/a/" }} ${{ r/a/ ~ "" }} ${{ r/a/ + 1 }} ${{ r/a/ in "a/a/" }} ${{ "x" in r/a/ }}"#,
            "error: Template error at line 1, column 81: Membership requires an array, record, or string",
        ),
        ("${{ [r/a/g] }}", r#"["/a/g"]"#),
        ("${{ {a: r/a/g} }}", r#"{"a":"/a/g"}"#),
        ("${{ [undef, 0/0, 1/0, nil] }}", "[null,null,null,null]"),
        ("${{ {a: undef} }}", "{}"),
        (r#"${{ ["a"|safe] }}"#, r#"["a"]"#),
        (r#"${{ "a" | safe }}"#, r#""a""#),
        ("${{ [range] }}", "error: Template error at line 1, column 1: Callable values cannot be coerced"),
        ("${{ [range] | length }}", "error: Template error at line 1, column 15: Callable values cannot be coerced"),
        ("${{ range == range }} ${{ range === range }}", r#""true true""#),
        ("${{ range == 1 }}", "error: Template error at line 1, column 5: Callable values cannot be coerced"),
        (r#"${{ range ~ "x" }}"#, "error: Template error at line 1, column 5: Callable values cannot be coerced"),
        ("${{ not range }} ${{ range and 1 }} ${{ 1 if range }}", r#""false 1 1""#),
        ("${{ range < 1 }}", "error: Template error at line 1, column 5: Callable values cannot be coerced"),
        ("${{ -range }}", "error: Template error at line 1, column 5: Callable values cannot be coerced"),
        ("${{ {a:1} == {a:1} }} ${{ [1] == [1] }} ${{ arr == arr }} ${{ obj === obj }}", r#""false false true true""#),
        (
            r#"${{ [1] == 1 }} ${{ [] == 0 }} ${{ [] == "" }} ${{ [] == false }} ${{ nil == false }} ${{ undef == 0 }} ${{ true == "1" }} ${{ true == 1 }} ${{ "abc" < "abd" }} ${{ "10" < "9" }} ${{ "10" < 9 }} ${{ nil < 1 }} ${{ undef < 1 }} ${{ [2] > 1 }} ${{ {} < 1 }} ${{ "b" > nil }}"#,
            r#""true true true true false false true true true true false true false true false false""#,
        ),
        ("${{ 1 === 1.0 }} ${{ 0/0 == 0/0 }} ${{ 0 === -0 }}", r#""true false true""#),
        (
            "${{ 5 % 0 }} ${{ -5 % 3 }} ${{ 5.5 % 2 }} ${{ 0 ** 0 }} ${{ (-8) ** (1/3) }} ${{ 1 ** (1/0) }}",
            r#""NaN -2 1.5 1 NaN NaN""#,
        ),
        (
            r#"${{ "5" + 1 }} ${{ "5" - 1 }} ${{ [] + [] }} ${{ {} + [] }} ${{ nil + nil }} ${{ t + t }} ${{ undef + undef }} ${{ nil ~ nil }}"#,
            r#""51 4  [object Object] 0 2 NaN nullnull""#,
        ),
        (
            r#"${{ " 5 " * 1 }} ${{ "0x10" * 1 }} ${{ "1e3" * 1 }} ${{ "" * 1 }} ${{ "5px" * 1 }} ${{ [5] * 1 }} ${{ [] * 1 }} ${{ [1,2] * 1 }}"#,
            r#""5 16 1000 0 NaN 5 0 NaN""#,
        ),
        (
            "${{ 7.0 }} ${{ 1.10 }} ${{ 100000000000000000000000 }} ${{ 0.000001 }} ${{ 0.00000012 }} ${{ -0 }} ${{ 0 * -1 }}",
            r#""7 1.1 1e+23 0.000001 1.2e-7 0 0""#,
        ),
        (
            r#"${{ "a" and "b" }} ${{ "" and "b" }} ${{ "" or "b" }} ${{ 0 or nil }} ${{ [] and 1 }} ${{ not [] }} ${{ not "" }}"#,
            r#""b  b  1 false true""#,
        ),
        ("${{ -0 }}", "-0"),
        ("${{ 0 * -1 }}", "-0"),
        ("${{ 0/0 }}", "NaN"),
        (r#"${{ arr[n] }} ${{ arr[n - 1] }} ${{ obj["c"].d[1] }} ${{ name[arr[0]] }}"#, r#"" 3 20 o""#),
        (
            r#"${{ arr[10::-1] | dump }} ${{ arr[5:1:-1] | dump }} ${{ arr[0.5:] | dump }} ${{ arr[:10] | dump }} ${{ arr[-10:] | dump }} ${{ arr[::1.5] | dump }} ${{ arr[::-2] | dump }} ${{ arr[-10::-1] | dump }} ${{ arr[::"x"] }}"#,
            "error: Template error at line 1, column 208: Slice step must have finite non-zero numeric coercion",
        ),
        ("${{ obj[1:2] | dump }}", r#""[null]""#),
        ("${{ n[0:2] | dump }} ${{ t[0:1] | dump }} ${{ nil[0:1] | dump }}", r#""[null,null] [null] [null]""#),
        (r#"${{ {length: 2, "0": "p"}[0:] | dump }}"#, r#""[\"p\",null]""#),
    ]);
}
