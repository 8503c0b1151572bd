//! Built-in filters, S to W; tests and globals.

use super::check;

#[test]
fn agrees_with_the_reference() {
    check(&[
        (
            r#"${{ ["b","a","C"] | sort | dump }} ${{ ["b","a","C"] | sort(true) | dump }} ${{ ["b","a","C"] | sort(false, true) | dump }} ${{ [3,1,10] | sort | dump }} ${{ objs | sort(false, false, "v") | dump }} ${{ objs | sort(attribute="k") | dump }} ${{ objs | sort(true, false, "v") | dump }}"#,
            r#""[\"a\",\"b\",\"C\"] [\"C\",\"b\",\"a\"] [\"C\",\"a\",\"b\"] [1,3,10] [{\"k\":\"x\",\"v\":1},{\"k\":\"y\",\"v\":2},{\"k\":\"x\",\"v\":3}] [{\"k\":\"x\",\"v\":1},{\"k\":\"x\",\"v\":3},{\"k\":\"y\",\"v\":2}] [{\"k\":\"x\",\"v\":3},{\"k\":\"y\",\"v\":2},{\"k\":\"x\",\"v\":1}]""#,
        ),
        ("${{ undef | sort }}", "[]"),
        (r#"${{ "bca" | sort | dump }}"#, r#""[\"a\",\"b\",\"c\"]""#),
        ("${{ obj | sort | dump }}", r#""[]""#),
        (
            r#"${{ objs | sort(false,false,"zz") | dump }}"#,
            r#""[{\"k\":\"x\",\"v\":1},{\"k\":\"y\",\"v\":2},{\"k\":\"x\",\"v\":3}]""#,
        ),
        (r#"${{ [1,"a",nil,undef,true] | sort | dump }}"#, r#""[1,\"a\",null,true,null]""#),
        (
            r#"${{ 5 | string }} ${{ arr | string }} ${{ undef | string }} ${{ nil | string }} ${{ obj | string }} ${{ "x" | safe | string }} ${{ t | string }}"#,
            r#"error: Template error at line 1, column 51: Filter "string" failed for undefined input: string requires a value"#,
        ),
        (
            "${{ \"<p>a <b>b</b></p>\n\n\n  c\" | striptags }}|${{ \"a\n\n\n\nb   c\" | striptags(true) }}|${{ undef | striptags }}|${{ \"<!-- x -->y\" | striptags }}|${{ \"a < b > c\" | striptags }}|${{ \" a   b \" | striptags }}",
            r#""a b c|a\n\nb c||y|a < b > c|a b""#,
        ),
        (
            "${{ 5 | striptags }}",
            r#"error: Template error at line 1, column 9: Filter "striptags" failed for number input: Filter input must be a string"#,
        ),
        (
            r#"${{ [1,2,3] | sum }} ${{ objs | sum("v") }} ${{ [1] | sum(undef, 10) }} ${{ objs | sum("v", 5) }} ${{ ["a","b"] | sum }} ${{ [] | sum }}"#,
            r#""6 6 11 11 00ab 0""#,
        ),
        (
            "${{ undef | sum }}",
            r#"error: Template error at line 1, column 13: Filter "sum" failed for undefined input: sum requires an array"#,
        ),
        (
            r#"${{ "abc" | sum }}"#,
            r#"error: Template error at line 1, column 13: Filter "sum" failed for string input: sum requires an array"#,
        ),
        (
            "${{ 5 | sum }}",
            r#"error: Template error at line 1, column 9: Filter "sum" failed for number input: sum requires an array"#,
        ),
        (r#"${{ objs | sum("zz") }}"#, "NaN"),
        (
            r#"${{ "hello wORLD foo-bar" | title }} ${{ undef | title }}|${{ "o'neil x_y 1st" | title }}"#,
            r#""Hello World Foo-bar |O'neil X_y 1st""#,
        ),
        (
            "${{ 5 | title }}",
            r#"error: Template error at line 1, column 9: Filter "title" failed for number input: Filter input must be a string"#,
        ),
        (
            r#"${{ "  x " | trim }}| ${{ undef | trim }}|"#,
            r#"error: Template error at line 1, column 35: Filter "trim" failed for undefined input: Filter input must be a string"#,
        ),
        (
            "${{ 5 | trim }}",
            r#"error: Template error at line 1, column 9: Filter "trim" failed for number input: Filter input must be a string"#,
        ),
        (
            r#"${{ "hello world foo bar" | truncate(10) }}|${{ "hello world foo bar" | truncate(10, true) }}|${{ "hello world" | truncate(5, true, "!") }}|${{ "short" | truncate }}|${{ "hello" | truncate(3) }}|${{ undef | truncate }}|${{ "hello world" | truncate(0) }}|${{ "helloworld foo" | truncate(5) }}|${{ "a b c d" | truncate(3, false, "") }}"#,
            r#""hello...|hello worl...|hello!|short|hel...||hello world|hello...|a b""#,
        ),
        (
            "${{ 5 | truncate(1) }}",
            r#"error: Template error at line 1, column 9: Filter "truncate" failed for number input: Filter input must be a string"#,
        ),
        (
            r#"${{ "abc" | upper }} ${{ "straße" | upper }} ${{ "İ" | lower }} ${{ "ΑΣ" | lower }}"#,
            r#""ABC STRASSE i̇ ας""#,
        ),
        (
            r#"${{ "a b&c/é?" | urlencode }} ${{ obj | urlencode }} ${{ {a:"x y", b:"é"} | urlencode }} ${{ [["a","b c"],["d","e"]] | urlencode }} ${{ 5 | urlencode }}|${{ undef | urlencode }}|${{ nil|urlencode }}|${{ [1,2]|urlencode }}"#,
            r#""a%20b%26c%2F%C3%A9%3F a=1&b=x&c=%5Bobject%20Object%5D a=x%20y&b=%C3%A9 a=b%20c&d=e |||undefined=undefined&undefined=undefined""#,
        ),
        (
            "${{ emoji[1] | urlencode }}",
            r#"error: Template error at line 1, column 16: Filter "urlencode" failed for string input: URI malformed"#,
        ),
        (
            r#"${{ "see http://x.com/foo and www.y.org or a@b.com (http://z.io)." | urlize }} ${{ "http://verylong.example.com/abc" | urlize(10) }} ${{ "http://x.com" | urlize(100, true) }} ${{ "x.com y.net z.org q.io" | urlize }}"#,
            r#""see <a href=\"http://x.com/foo\">http://x.com/foo</a> and <a href=\"http://www.y.org\">www.y.org</a> or <a href=\"mailto:a@b.com\">a@b.com</a> <a href=\"http://z.io)\">http://z.io)</a> <a href=\"http://verylong.example.com/abc\">http://ver</a> <a href=\"http://x.com\" rel=\"nofollow\">http://x.com</a> <a href=\"http://x.com\">x.com</a> <a href=\"http://y.net\">y.net</a> <a href=\"http://z.org\">z.org</a> q.io""#,
        ),
        (
            "${{ undef | urlize }}",
            r#"error: Template error at line 1, column 13: Filter "urlize" failed for undefined input: Filter input must be a string"#,
        ),
        (
            "${{ 5 | urlize }}",
            r#"error: Template error at line 1, column 9: Filter "urlize" failed for number input: Filter input must be a string"#,
        ),
        (
            r#"${{ "a b  c" | wordcount }} ${{ "" | wordcount }} ${{ undef | wordcount }} ${{ "é è" | wordcount }} ${{ "a-b c_d" | wordcount }}"#,
            r#""3    3""#,
        ),
        (
            "${{ 5 | wordcount }}",
            r#"error: Template error at line 1, column 9: Filter "wordcount" failed for number input: Filter input must be a string"#,
        ),
        ("${{ nil | wordcount }}", "null"),
        (
            r#"${{ range is callable }} ${{ n is callable }} ${{ undef is defined }} ${{ nil is defined }} ${{ 6 is divisibleby(3) }} ${{ ("x"|safe) is escaped }} ${{ "x" is escaped }} ${{ 1 is eq(1) }} ${{ 1 is eq("1") }} ${{ 1 is equalto(1) }} ${{ 1 is sameas(1) }} ${{ arr is sameas(arr) }} ${{ [1] is eq([1]) }}"#,
            r#""true false false true true true false true false true true true false""#,
        ),
        (
            r#"${{ 2 is even }} ${{ "2" is even }} ${{ z is falsy }} ${{ [] is falsy }} ${{ 2 is ge(2) }} ${{ 2 is gt(1) }} ${{ 2 is greaterthan(1) }} ${{ "b" is gt("a") }} ${{ arr is iterable }} ${{ "x" is iterable }} ${{ obj is iterable }} ${{ 5 is iterable }} ${{ undef is iterable }} ${{ nil is iterable }} ${{ 1 is le(2) }} ${{ 1 is lt(2) }} ${{ 1 is lessthan(2) }}"#,
            r#"error: Template error at line 1, column 262: Test "iterable" failed for undefined input: iterable test requires a value"#,
        ),
        (
            r#"${{ "ab" is lower }} ${{ "aB" is lower }} ${{ "" is lower }} ${{ obj is mapping }} ${{ arr is mapping }} ${{ nil is mapping }} ${{ "x" is mapping }} ${{ 1 is ne(2) }} ${{ nil is null }} ${{ undef is null }} ${{ 5 is number }} ${{ "5" is number }} ${{ 0/0 is number }} ${{ 3 is odd }} ${{ -3 is odd }} ${{ 1.5 is odd }} ${{ "x" is string }} ${{ ("x"|safe) is string }} ${{ 1 is truthy }} ${{ undef is undefined }} ${{ nil is undefined }} ${{ "AB" is upper }} ${{ "A1" is upper }}"#,
            r#""true false true true false false false true true false true false true true false false true false true true false true true""#,
        ),
        (
            "${{ 5 is lower }}",
            r#"error: Template error at line 1, column 10: Test "lower" failed for number input: Filter input must be a string"#,
        ),
        (
            "${{ arr is lower }}",
            r#"error: Template error at line 1, column 12: Test "lower" failed for array input: Filter input must be a string"#,
        ),
        (
            "${{ undef is upper }}",
            r#"error: Template error at line 1, column 14: Test "upper" failed for undefined input: Filter input must be a string"#,
        ),
        ("${{ r/a/ is mapping }}", "true"),
        (
            r#"${{ ("x"|safe) is mapping }} ${{ ("x"|safe) is iterable }} ${{ r/a/ is iterable }} ${{ range is iterable }} ${{ range is mapping }}"#,
            r#"error: Template error at line 1, column 97: Test "iterable" failed for callable input: Callable values cannot be coerced"#,
        ),
        ("${{ 1 is none }} ${{ undef is none }}", r#""false false""#),
        (
            "${{ 1 is string }} ${{ 1 is boolean }}",
            r#"error: Template error at line 1, column 29: Unknown template test "boolean""#,
        ),
        ("${{ 1 is array }}", r#"error: Template error at line 1, column 10: Unknown template test "array""#),
        (r#"${{ "x" is in("xyz") }}"#, r#"error: Template error at line 1, column 12: Unknown template test "in""#),
        ("${{ range() }}", "[]"),
        (r#"${{ range("3") }}"#, "[0,1,2]"),
        ("${{ range(3.5) }}", "[0,1,2,3]"),
        ("${{ range(0,5,0) }}", "[0,1,2,3,4]"),
        ("${{ range(undef) }}", "[]"),
        (
            "${{ range(1,2,3,4) }}",
            "error: Template error at line 1, column 5: Built-in global range accepts at most 3 positional arguments",
        ),
        (
            "${{ range(stop=3) }}",
            "error: Template error at line 1, column 5: Built-in global range does not accept keyword arguments",
        ),
        (r#"${{ range(1, 3, "x") }}"#, "[]"),
        ("${{ range(1e5 | int) }}", "error: Template error at line 1, column 11: Invalid numeric literal"),
        (
            "${{ range(100001) | length }}",
            "error: Template error at line 1, column 5: Template value containers cannot exceed 100000 entries",
        ),
        (
            "${{ range(2000000) | length }}",
            "limit: Template evaluation exceeded the work unit limit of 1000000 (observed 1000001) at line 1, column 5",
        ),
        ("${{ cycler() }}", "error: Template error at line 1, column 1: Callable values cannot be coerced"),
        ("{% set c = cycler() %}${{ c.next() }}", r#""""#),
        ("{% set c = cycler(1,2) %}${{ c.current }}${{ c.next() }}${{ c.current }}${{ c.foo }}", r#""11""#),
        (
            "{% set c = cycler(1,2) %}${{ c.next(1) }}",
            "error: Template error at line 1, column 32: Cycler next requires 0 positional arguments",
        ),
        (
            "{% set c = cycler(a=1) %}",
            "error: Template error at line 1, column 12: Built-in global cycler does not accept keyword arguments",
        ),
        (
            r#"{% set j = joiner("|") %}${{ j() }}${{ j() }}${{ j(1) }}"#,
            "error: Template error at line 1, column 50: Joiner instance requires 0 positional arguments",
        ),
        (
            "{% set j = joiner(1,2) %}",
            "error: Template error at line 1, column 12: Built-in global joiner accepts at most 1 positional argument",
        ),
        ("{% set j = joiner(5) %}${{ j() }}${{ j() }}", r#""5""#),
        (
            "${{ arr | upper }}",
            r#"error: Template error at line 1, column 11: Filter "upper" failed for array input: Filter input must be a string"#,
        ),
        ("${{ name | nosuch(1) }}", r#"error: Template error at line 1, column 12: Unknown template filter "nosuch""#),
        (r#"${{ "a" | default(x) }}"#, r#""a""#),
        ("${{ name | upper(1) }}", r#""WORLD""#),
        ("${{ name | upper(a=1) }}", r#""WORLD""#),
        (r#"${{ name | replace(old="w", new="x") }}"#, r#""world""#),
        ("${{ name | truncate(length=3) }}", r#""...""#),
        (r#"${{ "abc" | truncate(2, killwords=true) }}"#, r#""ab...""#),
        (r#"${{ 3 | round(method="floor") }}"#, "NaN"),
        (
            r#"${{ objs | join(attribute="k") }}"#,
            r#""[object Object][object Object][object Object][object Object][object Object]""#,
        ),
        ("${{ {} | dump(x=1) }}", r#""{}""#),
        ("${{ html | striptags }}", r#""\"q\" & 's'""#),
        (r#"${{ "<script>alert(1)</script>x<br/>y" | striptags }}"#, r#""alert(1)xy""#),
    ]);
}
