//! Block tags, scopes, macros and loops.

use super::check;

#[test]
fn agrees_with_the_reference() {
    check(&[
        ("{% set x = 1 %}{% macro m() %}[${{ x }}|${{ n }}]{% endmacro %}{% set x = 2 %}${{ m() }}", r#""[2|3]""#),
        ("{% macro m() %}[${{ x }}]{% endmacro %}{% if t %}{% set x = 2 %}{% endif %}${{ m() }}${{ x }}", r#""[2]2""#),
        (
            "{% for i in arr %}{% set x = i %}{% macro m() %}[${{ x }}${{ i }}]{% endmacro %}${{ m() }}{% endfor %}${{ x }}",
            r#""[][][]""#,
        ),
        ("{% set x = 0 %}{% for i in arr %}{% set x = x + i %}{% endfor %}${{ x }}", r#""6""#),
        ("{% for i in arr %}{% set n = n + i %}${{ n }},{% endfor %}${{ n }}", r#""4,6,9,3""#),
        (
            "{% macro m(a, b=2, c=a) %}${{ a }}-${{ b }}-${{ c }}{% endmacro %}${{ m(1) }}|${{ m(1,3) }}|${{ m(b=5) }}|${{ m(1,2,3,4) }}|${{ m(1,c=9) }}|${{ m(z=1) }}",
            r#""1-2-1|1-3-1|-5-|1-2-3|1-2-9|-2-""#,
        ),
        (
            "{% macro m(a) %}${{ caller() }}:${{ a }}{% endmacro %}{% call m(1) %}body ${{ n }}{% endcall %}",
            r#""body 3:1""#,
        ),
        (
            "{% macro m(a) %}${{ caller(5) }}:${{ a }}{% endmacro %}{% call(q) m(1) %}body ${{ q }}{% endcall %}",
            r#""body 5:1""#,
        ),
        (
            "{% macro m() %}x{% endmacro %}${{ m }}",
            "error: Template error at line 1, column 31: Callable values cannot be coerced",
        ),
        (
            "{% macro m() %}x{% endmacro %}${{ m }}!",
            "error: Template error at line 1, column 31: Callable values cannot be coerced",
        ),
        ("{% macro m() %}x{% endmacro %}${{ m() }}", r#""x""#),
        ("{% macro m() %}x{% endmacro %}${{ m() | upper }}", r#""X""#),
        ("${{ name.toUpperCase }}", "error: Template error at line 1, column 1: Callable values cannot be coerced"),
        ("${{ name.toUpperCase }}!", "error: Template error at line 1, column 1: Callable values cannot be coerced"),
        ("${{ range }}", "error: Template error at line 1, column 1: Callable values cannot be coerced"),
        ("${{ range }}!", "error: Template error at line 1, column 1: Callable values cannot be coerced"),
        ("${{ cycler(1,2) }}", "error: Template error at line 1, column 1: Callable values cannot be coerced"),
        ("${{ cycler(1,2) }}!", "error: Template error at line 1, column 1: Callable values cannot be coerced"),
        ("${{ joiner() }}!", "error: Template error at line 1, column 1: Callable values cannot be coerced"),
        (
            r#"{% set c = cycler("a","b") %}${{ c.next() }}${{ c.next() }}${{ c.next() }}${{ c.current }}${{ c.reset() }}${{ c.current }}"#,
            r#""abaa""#,
        ),
        ("{% set j = joiner() %}${{ j() }}a${{ j() }}b", r#""a,b""#),
        (
            "{% set a = [1] %}${{ a.push(a) }}${{ a }}",
            "error: Template error at line 1, column 24: Cyclic template values are not supported",
        ),
        ("{% set a = [1] %}{% set b = a %}${{ a.push(2) }}${{ b }}", r#""21,2""#),
        ("${{ arr.push(4) }}${{ arr }}", r#""41,2,3,4""#),
        ("${{ arr.push(4) }}", "4"),
        (
            "{% set a = [] %}{% for i in range(600) %}{% set a = [a] %}{% endfor %}${{ a }}",
            "error: Template error at line 1, column 53: Template value nesting cannot exceed 256 levels",
        ),
        (
            "{% set a = [] %}{% for i in range(6000) %}{% set a = [a] %}{% endfor %}done",
            "error: Template error at line 1, column 54: Template value nesting cannot exceed 256 levels",
        ),
        ("{% set a = 1 %}{% block b %}${{ a }}{% set a = 2 %}${{ a }}{% endblock %}${{ a }}", r#""121""#),
        (
            "{% block b %}x{% endblock %}{% block b %}y{% endblock %}",
            r#"error: Template error at line 1, column 29: Block "b" is declared more than once; the first declaration is at line 1, column 1"#,
        ),
        ("{% filter upper %}abc ${{ name }}{% endfilter %}", r#""ABC WORLD""#),
        (r#"{% filter replace("a", "b") %}abc{% endfilter %}"#, r#""bbc""#),
        ("{% set x %}hello ${{ name }}{% endset %}${{ x | upper }}", r#""HELLO WORLD""#),
        ("{% set a, b = 3 %}${{ a }}${{ b }}", r#""33""#),
        ("{% switch n %}{% case 1 %}one{% case 3 %}three{% default %}def{% endswitch %}", r#""three""#),
        ("{% switch n %}{% case 3 %}{% case 4 %}four{% default %}def{% endswitch %}", r#""four""#),
        (r#"{% switch n %}{% case "3" %}s{% default %}def{% endswitch %}"#, r#""def""#),
        (
            "{% switch n %} junk {% case 3 %}x{% endswitch %}",
            "error: Template error at line 1, column 1: Switch content must begin with case or default",
        ),
        ("{% for k, v in obj %}${{ k }}=${{ v }};{% endfor %}", r#""a=1;b=x;c=[object Object];""#),
        ("{% for k in obj %}${{ k }}{% else %}none{% endfor %}", r#""none""#),
        ("{% for a, b in [[1,2],[3,4]] %}${{ a }}${{ b }};{% endfor %}", r#""12;34;""#),
        ("{% for a, b, c in [[1,2],[3,4]] %}${{ a }}${{ b }}${{ c }};{% endfor %}", r#""12;34;""#),
        ("{% for c in 5 %}${{ c }}.{% else %}e{% endfor %}", r#""e""#),
        ("{% for c in undef %}${{ c }}.{% else %}e{% endfor %}", r#""e""#),
        (
            "{% for i in arr %}${{ loop.index }}${{ loop.index0 }}${{ loop.revindex }}${{ loop.revindex0 }}${{ loop.first }}${{ loop.last }}${{ loop.length }};{% endfor %}",
            r#""1032truefalse3;2121falsefalse3;3210falsetrue3;""#,
        ),
        (
            "{% for i in arr %}{% for j in arr %}${{ loop.index }}{% endfor %}${{ loop.index }};{% endfor %}",
            r#""1231;1232;1233;""#,
        ),
        ("{% for i in arr %}${{ loop }}{% endfor %}", r#""[object Object][object Object][object Object]""#),
        ("{% raw %}${{ x }}{% endraw %}", r#""${{ x }}""#),
        ("{% verbatim %}${{ x }}{% raw %}{% endverbatim %}", r#""${{ x }}{% raw %}""#),
        ("{% raw %}{% raw %}a{% endraw %}b{% endraw %}", r#""{% raw %}a{% endraw %}b""#),
        ("a  {%- if t -%}  b  {%- endif -%}  c", r#""abc""#),
        ("a ${{- n -}} b", r#""a3b""#),
        ("a {#- c -#} b", r#""ab""#),
        ("{% if t -%}\n x {% endif %}", r#""x ""#),
        ("{% if n > 2 and not z %}a{% elif t %}b{% else %}c{% endif %}", r#""a""#),
        ("{% if z %}a{% elseif t %}b{% else %}c{% endif %}", r#""b""#),
        (
            "{% if z %}a{% else %}b{% else %}c{% endif %}",
            r#"error: Template error at line 1, column 23: Unexpected "else" tag; expected "endif""#,
        ),
        ("{% set x = 5 %}${{ x }}{% if t %}{% set x = 6 %}{% endif %}${{ x }}", r#""56""#),
        (
            "${{ n | default(5) }} ${{ undef | default(5) }} ${{ nil | default(5) }} ${{ empty | d(5, true) }}",
            r#""3 5  5""#,
        ),
        ("${{ n | d(default=5) }}", "3"),
        ("${{ undef | default(value=5) }}", r#"{"value":5,"__keywords":true}"#),
        (r#"${{ "%" | urlencode }}"#, r#""%25""#),
        ("${{ undef | upper }}", r#""""#),
        (
            "${{ n | upper }}",
            r#"error: Template error at line 1, column 9: Filter "upper" failed for number input: Filter input must be a string"#,
        ),
        ("${{ obj | dump }}", r#""{\"a\":1,\"b\":\"x\",\"c\":{\"d\":[10,20]}}""#),
        (
            "${{ obj | dump(2) }}",
            r#""{\n  \"a\": 1,\n  \"b\": \"x\",\n  \"c\": {\n    \"d\": [\n      10,\n      20\n    ]\n  }\n}""#,
        ),
        (r#"${{ "abc" | replace(r/[ab]/g, "<$&>") }}"#, r#""<a><b>c""#),
        ("${{ loop.index }}", "undefined"),
        (r#"${{ arr | join(",") | upper | lower | length }}"#, "5"),
        (
            "${{ 10000000000000000000000 }} ${{ 0.0000001 }} ${{ 123456789012345680000 }} ${{ 1/3 }}",
            r#""1e+22 1e-7 123456789012345680000 0.3333333333333333""#,
        ),
        ("${{ (n).toFixed(2) }} ${{ n.toFixed(2) }}", r#""3.00 3.00""#),
        (
            "${{ m() }}{% macro m() %}x{% endmacro %}",
            r#"error: Template error at line 1, column 5: Template value "m" resolved to undefined and cannot be called"#,
        ),
        ("{% if t %}{% macro m() %}x{% endmacro %}{% endif %}${{ m() }}", r#""x""#),
        ("{% macro m() %}{% set q = 1 %}{% endmacro %}${{ m() }}${{ q }}", r#""""#),
        ("{% set q = 5 %}{% macro m() %}{% set q = 1 %}${{ q }}{% endmacro %}${{ m() }}${{ q }}", r#""15""#),
        ("{% macro f(n) %}${{ n }}{% if n > 0 %}${{ f(n - 1) }}{% endif %}{% endmacro %}${{ f(5) }}", r#""543210""#),
        (
            "{% for i in range(0, 2000000) %}{% endfor %}",
            "limit: Template evaluation exceeded the work unit limit of 1000000 (observed 1000001) at line 1, column 13",
        ),
        (
            "${{ range(5) }} ${{ range(1,5) }} ${{ range(1,10,3) }} ${{ range(5,0,-1) }}",
            r#""0,1,2,3,4 1,2,3,4 1,4,7 5,4,3,2,1""#,
        ),
        (r#"${{ "x" | center(5) }}| ${{ obj | dictsort }}"#, r#""  x  | a,1,b,x,c,[object Object]""#),
        (r#"${{ obj.c.d[0] }} ${{ obj["c"]["d"] }}"#, r#""10 10,20""#),
        (r#"${{ (obj).a }} ${{ ([1,2])[1] }} ${{ [1,2][1] }} ${{ "abc"[1] }} ${{ "abc".length }}"#, r#""1 2 2 b 3""#),
        (
            r#"${{ (1 + 2) * 3 }} ${{ - - 3 }} ${{ +"5" }} ${{ -"x" }} ${{ not not t }}"#,
            "error: Template error at line 1, column 26: Repeated unparenthesized unary - is not supported",
        ),
    ]);
}
