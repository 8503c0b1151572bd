//! Functions as values, live loops, reserved names.

use super::check;

#[test]
fn agrees_with_the_reference() {
    check(&[
        ("${{ range | default(1) }}", "error: Template error at line 1, column 13: Callable values cannot be coerced"),
        (
            "${{ undef | default(range) }}",
            "error: Template error at line 1, column 13: Callable values cannot be coerced",
        ),
        ("${{ range | length }}", "error: Template error at line 1, column 13: Callable values cannot be coerced"),
        ("${{ [range] | first }}", "error: Template error at line 1, column 15: Callable values cannot be coerced"),
        (
            "${{ range is defined }}",
            r#"error: Template error at line 1, column 14: Test "defined" failed for callable input: Callable values cannot be coerced"#,
        ),
        (
            "${{ [range] is defined }}",
            r#"error: Template error at line 1, column 16: Test "defined" failed for array input: Callable values cannot be coerced"#,
        ),
        ("${{ range is eq(range) }}", "true"),
        ("${{ range | nosuch }}", r#"error: Template error at line 1, column 13: Unknown template filter "nosuch""#),
        (
            "{% macro m() %}x{% endmacro %}{% if m | default(0) %}y{% endif %}",
            "error: Template error at line 1, column 41: Callable values cannot be coerced",
        ),
        ("${{ arr[10::-1] | dump }}", r#""[]""#),
        ("${{ arr[-10::-1] | dump }}", r#""[]""#),
        (
            "${{ arr[undef:2] | dump }}",
            "limit: Template evaluation exceeded the work unit limit of 1000000 (observed 1000001) at line 1, column 9",
        ),
        ("${{ arr[:undef] | dump }}", r#""[1,2,3,null]""#),
        ("${{ arr[nil:2] | dump }}", r#""[1,2]""#),
        (
            "${{ arr[::nil] | dump }}",
            "error: Template error at line 1, column 9: Slice step must have finite non-zero numeric coercion",
        ),
        (
            "${{ arr[::undef] | dump }}",
            "error: Template error at line 1, column 9: Slice step must have finite non-zero numeric coercion",
        ),
        ("${{ arr[0.5:] | dump }}", r#""[null,null,null]""#),
        ("${{ arr[::1.5] | dump }}", r#""[1,null]""#),
        ("${{ arr[:-10:-1] | dump }}", r#""[3,2,1]""#),
        ("${{ arr[3:] | dump }} ${{ arr[4:] | dump }} ${{ arr[0:9] | dump }}", r#""[] [] [1,2,3,null]""#),
        ("${{ name[0:9] | dump }}", r#""[\"w\",\"o\",\"r\",\"l\",\"d\",null]""#),
        ("${{ z[0:1] | dump }} ${{ empty[0:1] | dump }} ${{ t[0:1] | dump }}", r#""[null] [null] [null]""#),
        ("${{ arr[1:2:3:4] }}", "error: Template error at line 1, column 14: Expected ]"),
        (
            "{% for a, b in [nil] %}x${{ a }}{% endfor %}",
            "error: Template error at line 1, column 1: Cannot destructure a nullish loop value",
        ),
        (
            "{% for a, b in [undef, 5, t] %}x${{ a }}{% endfor %}",
            "error: Template error at line 1, column 1: Cannot destructure a nullish loop value",
        ),
        ("{% for a, b in [[1]] %}x${{ a }}${{ b }}{% endfor %}", r#""x1""#),
        (r#"{% for a in ("ab"|safe) %}${{ a }},{% endfor %}"#, r#""a,b,""#),
        (r#"{% for a, b in ("ab"|safe) %}${{ a }}${{ b }},{% endfor %}"#, r#""a,b,""#),
        ("{% for a in r/a/ %}${{ a }}{% else %}e{% endfor %}", r#""e""#),
        ("{% for a in range %}${{ a }}{% else %}e{% endfor %}", r#""e""#),
        (r#"{% for a in {"length": "2", "0": "x"} %}${{ a }}{% else %}e{% endfor %}"#, r#""x""#),
        (
            r#"{% for a in {"length": 1.5, "0": "x", "1": "y"} %}${{ a }}${{ loop.revindex }}${{ loop.last }}{% else %}e{% endfor %}"#,
            r#""x1.5falsey0.5false""#,
        ),
        (r#"{% for a in {"length": -1} %}${{ a }}{% else %}e{% endfor %}"#, r#""""#),
        (
            "{% set a = [1,2] %}{% for x in a %}${{ x }}{% if a.length < 5 %}${{ a.push(9) }}{% endif %};{% endfor %}",
            r#""13;24;95;9;9;""#,
        ),
        ("{% set a = [1,2] %}{% for x in a %}${{ x }}${{ a.pop() }};{% endfor %}", r#""12;""#),
        ("{% for k, v in {} %}x{% else %}e{% endfor %}", r#""e""#),
        ("{% for k, v in {b:1, a:2} %}${{ k }}${{ loop.index }}${{ loop.last }}{% endfor %}", r#""b1falsea2true""#),
        ("{% for x in [1,2,3] %}${{ x }}{% set arr2 = x %}{% endfor %}${{ arr2 }}", r#""123""#),
        (r#"${{ {b:1,"2":2,"1":3} | dump }}"#, r#""{\"1\":3,\"2\":2,\"b\":1}""#),
        ("${{ obj | list | first | dump }}", r#""{\"key\":\"a\",\"value\":1}""#),
        (r#"${{ objs | groupby("k") | list | length }}"#, "2"),
        ("${{ {a:{b:1}} }}", "error: Template error at line 1, column 12: Expected }"),
        ("${{ {a:{b:1} }|dump }}", r#""{\"a\":{\"b\":1}}""#),
        (r#"${{ "A" ~ undef ~ nil ~ 1.0 ~ true }}"#, r#""Aundefinednull1true""#),
        (r#"${{ "%s" | replace("%s", name) }}"#, r#""world""#),
        (r#"${{ name | replace("o", "0") | upper | length }}"#, "5"),
    ]);
}
