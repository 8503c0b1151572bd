//! Built-in filters, A to S.

use super::check;

#[test]
fn agrees_with_the_reference() {
    check(&[
        (
            r#"${{ -3 | abs }} ${{ "-3" | abs }} ${{ "x" | abs }} ${{ undef | abs }} ${{ nil | abs }} ${{ arr | abs }}"#,
            r#""3 3 NaN NaN 0 NaN""#,
        ),
        (
            r#"${{ [1,2,3,4,5] | batch(2) | dump }} ${{ [1,2,3] | batch(2, 0) | dump }} ${{ "abc" | batch(2) | dump }} ${{ arr | batch | dump }}"#,
            r#"error: Template error at line 1, column 115: Filter "batch" failed for array input: Batch size must be a positive integer"#,
        ),
        (
            "${{ arr | batch(0) | dump }}",
            r#"error: Template error at line 1, column 11: Filter "batch" failed for array input: Batch size must be a positive integer"#,
        ),
        (
            "${{ arr | batch(-1) | dump }}",
            r#"error: Template error at line 1, column 11: Filter "batch" failed for array input: Batch size must be a positive integer"#,
        ),
        (
            r#"${{ arr | batch("x") | dump }}"#,
            r#"error: Template error at line 1, column 11: Filter "batch" failed for array input: Batch size must be a positive integer"#,
        ),
        (
            "${{ undef | batch(2) | dump }}",
            r#"error: Template error at line 1, column 13: Filter "batch" failed for undefined input: batch requires a sequence"#,
        ),
        ("${{ obj | batch(2) | dump }}", r#""[]""#),
        (
            r#"${{ "hELLO wORLD" | capitalize }} ${{ "" | capitalize }} ${{ undef | capitalize }} ${{ nil | capitalize }} ${{ z | capitalize }}"#,
            r#""Hello world    ""#,
        ),
        (
            "${{ t | capitalize }}",
            r#"error: Template error at line 1, column 9: Filter "capitalize" failed for boolean input: Filter input must be a string"#,
        ),
        (
            "${{ arr | capitalize }}",
            r#"error: Template error at line 1, column 11: Filter "capitalize" failed for array input: Filter input must be a string"#,
        ),
        (
            "${{ 5 | capitalize }}",
            r#"error: Template error at line 1, column 9: Filter "capitalize" failed for number input: Filter input must be a string"#,
        ),
        (
            r#"${{ "abc" | center(10) }}| ${{ "abcd" | center(7) }}| ${{ "abc" | center(2) }}| ${{ "x" | center }}| ${{ undef | center(3) }}|"#,
            r#""   abc    |  abcd  | abc|                                        x                                        |    |""#,
        ),
        ("${{ 5 | center(5) }}", r#""5""#),
        (r#"${{ "x" | center("y") }}"#, r#""x""#),
        (
            r#"${{ undef | default("a") }} ${{ nil | default("a") }} ${{ nil | default("a", true) }} ${{ z | default("a", true) }} ${{ 0 | default("a", true) }} ${{ undef | default }}"#,
            r#""a  a a a ""#,
        ),
        (
            r#"${{ {b:1,a:2,C:3} | dictsort | dump }} ${{ {b:1,a:2,C:3} | dictsort(true) | dump }} ${{ {b:2,a:1} | dictsort(false, "value") | dump }}"#,
            r#""[[\"a\",2],[\"b\",1],[\"C\",3]] [[\"C\",3],[\"a\",2],[\"b\",1]] [[\"a\",1],[\"b\",2]]""#,
        ),
        (
            r#"${{ {b:1} | dictsort(false, "foo") }}"#,
            r#"error: Template error at line 1, column 13: Filter "dictsort" failed for record input: dictsort can only sort by key or value"#,
        ),
        (
            "${{ arr | dictsort }}",
            r#"error: Template error at line 1, column 11: Filter "dictsort" failed for array input: dictsort requires a record"#,
        ),
        (
            r#"${{ "x" | dictsort }}"#,
            r#"error: Template error at line 1, column 11: Filter "dictsort" failed for string input: dictsort requires a record"#,
        ),
        (
            "${{ undef | dictsort }}",
            r#"error: Template error at line 1, column 13: Filter "dictsort" failed for undefined input: dictsort requires a record"#,
        ),
        (
            r#"${{ {b:2,a:10,c:1} | dictsort(false, "value") | dump }} ${{ {a:1,B:2,c:3} | dictsort(case_sensitive=true) | dump }}"#,
            r#""[[\"c\",1],[\"b\",2],[\"a\",10]] [[\"B\",2],[\"a\",1],[\"c\",3]]""#,
        ),
        (
            r#"${{ obj | dump }} ${{ "a\"b" | dump }} ${{ undef | dump }} ${{ nil | dump }} ${{ [undef, 1/0, nil] | dump }} ${{ {a: undef} | dump }} ${{ 1.5 | dump }}"#,
            r#""{\"a\":1,\"b\":\"x\",\"c\":{\"d\":[10,20]}} \"a\\\"b\"  null [null,null,null] {} 1.5""#,
        ),
        (
            r#"${{ obj | dump(2) }} ${{ obj | dump("--") }} ${{ [] | dump(2) }} ${{ {} | dump(2) }}"#,
            r#""{\n  \"a\": 1,\n  \"b\": \"x\",\n  \"c\": {\n    \"d\": [\n      10,\n      20\n    ]\n  }\n} {\n--\"a\": 1,\n--\"b\": \"x\",\n--\"c\": {\n----\"d\": [\n------10,\n------20\n----]\n--}\n} [] {}""#,
        ),
        ("${{ arr | dump(20) }}", r#""[\n          1,\n          2,\n          3\n]""#),
        ("${{ range | dump }}", "error: Template error at line 1, column 13: Callable values cannot be coerced"),
        (
            r#"${{ html | escape }} ${{ html | e }} ${{ html | escape | escape }} ${{ html | forceescape }} ${{ html | escape | forceescape }} ${{ 5 | escape }} ${{ undef | escape }} ${{ nil | escape }} ${{ arr | escape }} ${{ "a\\b`" | escape }}"#,
            r#""&lt;b&gt;&quot;q&quot; &amp; &#39;s&#39;&lt;/b&gt; &lt;b&gt;&quot;q&quot; &amp; &#39;s&#39;&lt;/b&gt; &lt;b&gt;&quot;q&quot; &amp; &#39;s&#39;&lt;/b&gt; &lt;b&gt;&quot;q&quot; &amp; &#39;s&#39;&lt;/b&gt; &amp;lt;b&amp;gt;&amp;quot;q&amp;quot; &amp;amp; &amp;#39;s&amp;#39;&amp;lt;/b&amp;gt; 5   1,2,3 a&#92;b`""#,
        ),
        (
            r#"${{ arr | first }} ${{ "abc" | first }} ${{ [] | first }} ${{ undef | first }} ${{ 5 | first }}"#,
            r#"error: Template error at line 1, column 71: Filter "first" failed for undefined input: first requires a sequence"#,
        ),
        ("${{ obj | first }}", "undefined"),
        (
            "${{ nil | first }}",
            r#"error: Template error at line 1, column 11: Filter "first" failed for null input: first requires a sequence"#,
        ),
        (
            r#"${{ "1.5x" | float }} ${{ "x" | float(7) }} ${{ "x" | float }} ${{ 3 | float }} ${{ undef | float }} ${{ nil | float }} ${{ t | float }} ${{ arr | float }} ${{ "" | float(1) }}"#,
            r#""1.5 7  3    1 1""#,
        ),
        (
            r#"${{ objs | groupby("k") | dump }}"#,
            r#""{\"x\":[{\"k\":\"x\",\"v\":1},{\"k\":\"x\",\"v\":3}],\"y\":[{\"k\":\"y\",\"v\":2}]}""#,
        ),
        (r#"${{ arr | groupby("k") | dump }}"#, r#""{\"undefined\":[1,2,3]}""#),
        (
            r#"${{ objs | groupby("v") | dump }}"#,
            r#""{\"1\":[{\"k\":\"x\",\"v\":1}],\"2\":[{\"k\":\"y\",\"v\":2}],\"3\":[{\"k\":\"x\",\"v\":3}]}""#,
        ),
        (
            "${{ objs | groupby | dump }}",
            r#""{\"[object Object]\":[{\"k\":\"x\",\"v\":1},{\"k\":\"y\",\"v\":2},{\"k\":\"x\",\"v\":3}]}""#,
        ),
        (r#"${{ "x" | groupby("k") | dump }}"#, r#""{\"undefined\":[\"x\"]}""#),
        (
            r#"${{ undef | groupby("k") | dump }}"#,
            r#"error: Template error at line 1, column 13: Filter "groupby" failed for undefined input: groupby requires a sequence"#,
        ),
        (
            r#"${{ multi | indent }} ${{ multi | indent(2) }} ${{ multi | indent(2, true) }} ${{ "" | indent }} ${{ undef | indent }} ${{ nil | indent }}"#,
            r#""l1\n    l2\n    l3 l1\n  l2\n  l3   l1\n  l2\n  l3   ""#,
        ),
        (
            "${{ 5 | indent }}",
            r#"error: Template error at line 1, column 9: Filter "indent" failed for number input: Filter input must be a string"#,
        ),
        ("${{ \"a\n\nb\" | indent(2) }}", r#""a\n  \n  b""#),
        ("${{ multi | indent(width=1) }}", r#""l1\nl2\nl3""#),
        (
            r#"${{ "12px" | int }} ${{ "x" | int(5) }} ${{ "x" | int }} ${{ 3.9 | int }} ${{ -3.9 | int }} ${{ "0x1f" | int }} ${{ "1f" | int(0, 16) }} ${{ undef | int }} ${{ "" | int(4) }} ${{ t | int }} ${{ nil | int(1) }} ${{ 1e21 | int }}"#,
            "error: Template error at line 1, column 215: Invalid numeric literal",
        ),
        (r#"${{ "101" | int(base=2) }}"#, "5"),
        (
            r#"${{ arr | join }} ${{ arr | join("-") }} ${{ objs | join(",", "k") }} ${{ "abc" | join("-") }} ${{ [1,nil,undef,2] | join("-") }} ${{ nested | join("-") }} ${{ arr | join(1) }} ${{ arr | join(nil) }}"#,
            r#"error: Template error at line 1, column 83: Filter "join" failed for string input: join requires an array"#,
        ),
        (
            "${{ undef | join }}",
            r#"error: Template error at line 1, column 13: Filter "join" failed for undefined input: join requires an array"#,
        ),
        (
            "${{ 5 | join }}",
            r#"error: Template error at line 1, column 9: Filter "join" failed for number input: join requires an array"#,
        ),
        (
            "${{ obj | join }}",
            r#"error: Template error at line 1, column 11: Filter "join" failed for record input: join requires an array"#,
        ),
        (
            "${{ nil | join }}",
            r#"error: Template error at line 1, column 11: Filter "join" failed for null input: join requires an array"#,
        ),
        (
            r#"${{ arr | last }} ${{ "abc" | last }} ${{ [] | last }} ${{ undef | last }} ${{ 5 | last }}"#,
            r#"error: Template error at line 1, column 68: Filter "last" failed for undefined input: last requires a sequence"#,
        ),
        (
            "${{ nil | last }}",
            r#"error: Template error at line 1, column 11: Filter "last" failed for null input: last requires a sequence"#,
        ),
        ("${{ obj | last }}", "undefined"),
        (
            r#"${{ arr | length }} ${{ "abc" | length }} ${{ emoji | length }} ${{ undef | length }} ${{ nil | length }} ${{ 5 | length }} ${{ obj | length }} ${{ t | length }} ${{ "x" | safe | length }} ${{ z | length }} ${{ 0|length }}"#,
            r#""3 3 4 0 0  3  1 0 ""#,
        ),
        (
            r#"${{ "abc" | list | dump }} ${{ obj | list | dump }} ${{ arr | list | dump }}"#,
            r#""[\"a\",\"b\",\"c\"] [{\"key\":\"a\",\"value\":1},{\"key\":\"b\",\"value\":\"x\"},{\"key\":\"c\",\"value\":{\"d\":[10,20]}}] [1,2,3]""#,
        ),
        (
            "${{ 5 | list }}",
            r#"error: Template error at line 1, column 9: Filter "list" failed for number input: list requires an iterable value"#,
        ),
        (
            "${{ undef | list }}",
            r#"error: Template error at line 1, column 13: Filter "list" failed for undefined input: list requires an iterable value"#,
        ),
        (
            "${{ nil | list }}",
            r#"error: Template error at line 1, column 11: Filter "list" failed for null input: list requires an iterable value"#,
        ),
        (r#"${{ "ABC" | lower }} ${{ undef | lower }}|${{ nil | lower }}|${{ z | lower }}"#, r#""abc ||""#),
        ("${{ \"a\nb\r\nc\" | nl2br }} ${{ undef | nl2br }}", r#""a<br />\nb<br />\nc ""#),
        (
            "${{ 5 | nl2br }}",
            r#"error: Template error at line 1, column 9: Filter "nl2br" failed for number input: Filter input must be a string"#,
        ),
        (
            r#"${{ [1,2,3,4] | reject("odd") | dump }} ${{ [0,1,"",nil] | reject | dump }} ${{ [1,2,3,4] | select("even") | dump }} ${{ [0,1,"",2] | select | dump }} ${{ [1,2,3,6] | select("divisibleby", 3) | dump }}"#,
            r#""[2,4] [0,\"\",null] [2,4] [1,2] [3,6]""#,
        ),
        (
            r#"${{ arr | select("nosuch") }}"#,
            r#"error: Template error at line 1, column 11: Filter "select" failed for array input: Unknown template test nosuch"#,
        ),
        (
            r#"${{ undef | select("odd") | dump }}"#,
            r#"error: Template error at line 1, column 13: Filter "select" failed for undefined input: select requires a sequence"#,
        ),
        (r#"${{ "abc" | select | dump }}"#, r#""[\"a\",\"b\",\"c\"]""#),
        ("${{ obj | select | dump }}", r#""[]""#),
        (
            r#"${{ objs | selectattr("k") | dump }} ${{ objs | rejectattr("k") | dump }} ${{ [{a:1},{a:0},{}] | selectattr("a") | dump }} ${{ [{a:1},{a:0},{}] | rejectattr("a") | dump }}"#,
            r#""[{\"k\":\"x\",\"v\":1},{\"k\":\"y\",\"v\":2},{\"k\":\"x\",\"v\":3}] [] [{\"a\":1}] [{\"a\":0},{}]""#,
        ),
        (
            r#"${{ objs | selectattr("k", "eq", "x") | dump }}"#,
            r#""[{\"k\":\"x\",\"v\":1},{\"k\":\"y\",\"v\":2},{\"k\":\"x\",\"v\":3}]""#,
        ),
        (r#"${{ arr | selectattr("k") | dump }}"#, r#""[]""#),
        (
            r#"${{ [nil] | selectattr("k") | dump }}"#,
            r#"error: Template error at line 1, column 13: Filter "selectattr" failed for array input: Cannot read a template attribute from a nullish value"#,
        ),
        (
            r#"${{ undef | selectattr("k") | dump }}"#,
            r#"error: Template error at line 1, column 13: Filter "selectattr" failed for undefined input: selectattr requires an array"#,
        ),
        (
            r#"${{ "aXbX" | replace("X", "y") }} ${{ "aXbX" | replace("X", "y", 1) }} ${{ "abc" | replace("", "-") }} ${{ "aaa" | replace("a", "b", 0) }} ${{ "aaa" | replace("a", "b", -1) }} ${{ 121 | replace(1, 3) }} ${{ "a.b" | replace(".", "$&") }}"#,
            r#""ayby aybX -a-b-c- aaa bbb 323 a$&b""#,
        ),
        (
            r#"${{ "abc" | replace(r/b/, "x") }} ${{ "abab" | replace(r/b/g, "[$1]") }} ${{ "abab" | replace(r/(a)(b)/g, "$2$1$$") }} ${{ "ABC" | replace(r/b/i, "x") }} ${{ "abc" | replace("b") }}"#,
            r#""axc a[$1]a[$1] ba$ba$ AxC aundefinedc""#,
        ),
        (
            r#"${{ undef | replace("a", "b") }}|${{ nil | replace("a","b") }}|${{ z | replace("a","b") }}|${{ "x" | replace(1, 2) }}|${{ "a1" | replace(1, 2) }}|${{ "a" | replace(undef, "x") }}|${{ "a" | replace("a", undef) }}|${{ "a" | replace("a", 5) }}"#,
            r#""||false|x|a2|a|undefined|5""#,
        ),
        (r#"${{ arr | replace("1","2") }}"#, "[1,2,3]"),
        (r#"${{ t | replace("1","2") }}"#, "true"),
        (r#"${{ "abc" | replace("abc", "x", "y") }}"#, r#""abc""#),
        ("${{ undef | reverse }}", "[]"),
        ("${{ 5 | reverse }}", "[]"),
        ("${{ obj | reverse }}", "[]"),
        (
            r#"${{ 2.5 | round }} ${{ -2.5 | round }} ${{ 2.567 | round(2) }} ${{ 2.561 | round(2, "ceil") }} ${{ 2.569 | round(2, "floor") }} ${{ "2.5" | round }} ${{ "x" | round }} ${{ undef | round }} ${{ 1234 | round(-2) }} ${{ 2.5 | round(0, "foo") }} ${{ 1.005 | round(2) }}"#,
            r#""3 -2 2.57 2.57 2.56 3 NaN NaN 1200 3 1""#,
        ),
        (
            r#"${{ "<b>" | safe }} ${{ undef | safe }} ${{ 5 | safe }} ${{ nil | safe }} ${{ arr | safe }}"#,
            r#""<b>  5  1,2,3""#,
        ),
        (
            r#"${{ arr | slice(2) | dump }} ${{ [1,2,3,4,5] | slice(3) | dump }} ${{ [1,2,3,4,5] | slice(3, "-") | dump }}"#,
            r#""[[1,2],[3]] [[1,2],[3,4],[5]] [[1,2],[3,4],[5,\"-\"]]""#,
        ),
        (r#"${{ "abc" | slice(2) | dump }}"#, r#""[\"ab\",\"c\"]""#),
        (
            "${{ arr | slice(0) | dump }}",
            r#"error: Template error at line 1, column 11: Filter "slice" failed for array input: Slice count must be a positive integer"#,
        ),
        (
            "${{ arr | slice(-1) | dump }}",
            r#"error: Template error at line 1, column 11: Filter "slice" failed for array input: Slice count must be a positive integer"#,
        ),
        (
            "${{ arr | slice | dump }}",
            r#"error: Template error at line 1, column 11: Filter "slice" failed for array input: Slice count must be a positive integer"#,
        ),
        (
            "${{ undef | slice(2) | dump }}",
            r#"error: Template error at line 1, column 13: Filter "slice" failed for undefined input: slice requires a sequence"#,
        ),
        (
            "${{ obj | slice(2) | dump }}",
            r#"error: Template error at line 1, column 11: Filter "slice" failed for record input: slice requires a sequence"#,
        ),
    ]);
}
