//! Methods of strings, numbers, arrays and regular expressions.

use super::check;

#[test]
fn agrees_with_the_reference() {
    check(&[
        (
            "${{ {a:1}() }}",
            "error: Template error at line 1, column 5: Template expression resolved to record and cannot be called",
        ),
        (
            "${{ [1]() }}",
            "error: Template error at line 1, column 5: Template expression resolved to array and cannot be called",
        ),
        (
            "${{ (1)() }}",
            "error: Template error at line 1, column 5: Template expression resolved to number and cannot be called",
        ),
        (
            "${{ r/a/() }}",
            "error: Template error at line 1, column 5: Template expression resolved to regular expression and cannot be called",
        ),
        (
            r#"${{ ("a"|safe)() }}"#,
            "error: Template error at line 1, column 5: Template expression resolved to safe string and cannot be called",
        ),
        (
            "${{ nil() }}",
            r#"error: Template error at line 1, column 5: Template value "nil" resolved to null and cannot be called"#,
        ),
        (
            "${{ t() }}",
            r#"error: Template error at line 1, column 5: Template value "t" resolved to boolean and cannot be called"#,
        ),
        (
            "${{ t.foo() }}",
            r#"error: Template error at line 1, column 7: Template value "t.foo" resolved to undefined and cannot be called"#,
        ),
        (
            r#"${{ obj["a"]() }}"#,
            r#"error: Template error at line 1, column 9: Template value "obj.a" resolved to number and cannot be called"#,
        ),
        (
            "${{ obj[name]() }}",
            r#"error: Template error at line 1, column 9: Template value "obj.name" resolved to undefined and cannot be called"#,
        ),
        (
            "${{ (n + 1)() }}",
            "error: Template error at line 1, column 5: Template expression resolved to number and cannot be called",
        ),
        (
            "${{ [n][0]() }}",
            "error: Template error at line 1, column 9: Template expression resolved to number and cannot be called",
        ),
        (
            r#"${{ "abc".foo() }}"#,
            "error: Template error at line 1, column 11: Template expression resolved to undefined and cannot be called",
        ),
        (
            "${{ n.foo.bar() }}",
            r#"error: Template error at line 1, column 11: Template value "n.foo.bar" resolved to undefined and cannot be called"#,
        ),
        (
            "${{ arr.map(1) }}",
            r#"error: Template error at line 1, column 9: Template value "arr.map" resolved to undefined and cannot be called"#,
        ),
        ("${{ arr.push }}", "error: Template error at line 1, column 1: Callable values cannot be coerced"),
        (
            "${{ arr.length() }}",
            r#"error: Template error at line 1, column 9: Template value "arr.length" resolved to number and cannot be called"#,
        ),
        (r#"${{ name.charAt("x") }}"#, r#""w""#),
        ("${{ name.charAt() }}", r#""w""#),
        (
            "${{ name.charAt(1,2) }}",
            "error: Template error at line 1, column 10: Template intrinsic charAt requires 0 to 1 positional arguments",
        ),
        (
            "${{ name.charAt(z=1) }}",
            "error: Template error at line 1, column 10: Template intrinsic charAt does not accept keyword arguments",
        ),
        (
            "${{ name.indexOf() }}",
            "error: Template error at line 1, column 10: Template intrinsic indexOf requires 1 to 2 positional arguments",
        ),
        (
            r#"${{ name.indexOf("o") }} ${{ name.indexOf("o", 2) }} ${{ name.indexOf("o", 1, 2) }}"#,
            "error: Template error at line 1, column 63: Template intrinsic indexOf requires 1 to 2 positional arguments",
        ),
        (
            "${{ name.slice(1) }} ${{ name.slice(-2) }} ${{ name.slice(1, 3) }} ${{ name.slice() }}",
            r#""orld ld or world""#,
        ),
        ("${{ name.substring(3, 1) }} ${{ name.substring(-1, 2) }}", r#""or wo""#),
        (
            r#"${{ name.split() | dump }} ${{ name.split("") | dump }} ${{ name.split("o") | dump }} ${{ name.split("", 2) | dump }} ${{ name.split(r/[or]/) | dump }}"#,
            r#""[\"world\"] [\"w\",\"o\",\"r\",\"l\",\"d\"] [\"w\",\"rld\"] [\"w\",\"o\"] [\"w\",\"\",\"ld\"]""#,
        ),
        (
            r#"${{ name.replace("o", "0") }} ${{ "ooo".replace("o", "0") }} ${{ name.replace(r/o/g, "[$&]") }} ${{ name.replace("o") }}"#,
            "error: Template error at line 1, column 106: Template intrinsic replace requires 2 positional arguments",
        ),
        (r#"${{ name.replace("o", "$&$&") }}"#, r#""woorld""#),
        (r#"${{ name.concat("a", "b", 1) }} ${{ name.concat() }}"#, r#""worldab1 world""#),
        ("${{ name.concat(1) }}", r#""world1""#),
        (
            r#"${{ name.startsWith("w") }} ${{ name.endsWith("d") }} ${{ name.includes("rl") }} ${{ name.startsWith("o", 1) }}"#,
            r#""true true true true""#,
        ),
        ("${{ name.startsWith(r/w/) }}", "false"),
        ("${{ name.startsWith(1) }}", "false"),
        (r#"${{ " x ".trim() }}| ${{ " x ".trimEnd() }}| ${{ " x ".trimStart() }}|"#, r#""x|  x| x |""#),
        ("${{ name.charCodeAt(0) }} ${{ name.charCodeAt(99) }}", r#""119 NaN""#),
        (
            r#"${{ name.lastIndexOf("o") }} ${{ name.toString() }}"#,
            r#"error: Template error at line 1, column 39: Template value "name.toString" resolved to undefined and cannot be called"#,
        ),
        (
            "${{ name.at(0) }}",
            r#"error: Template error at line 1, column 10: Template value "name.at" resolved to undefined and cannot be called"#,
        ),
        (
            "${{ name.codePointAt(0) }}",
            r#"error: Template error at line 1, column 10: Template value "name.codePointAt" resolved to undefined and cannot be called"#,
        ),
        (
            "${{ name.match(r/o/) }}",
            r#"error: Template error at line 1, column 10: Template value "name.match" resolved to undefined and cannot be called"#,
        ),
        (
            "${{ name.repeat(2) }}",
            r#"error: Template error at line 1, column 10: Template value "name.repeat" resolved to undefined and cannot be called"#,
        ),
        (
            "${{ name.toLocaleUpperCase() }}",
            r#"error: Template error at line 1, column 10: Template value "name.toLocaleUpperCase" resolved to undefined and cannot be called"#,
        ),
        (
            "${{ n.toFixed() }} ${{ n.toFixed(101) }}",
            "error: Template error at line 1, column 26: toFixed() digits argument must be between 0 and 100",
        ),
        (
            "${{ n.toFixed(-1) }}",
            "error: Template error at line 1, column 7: toFixed() digits argument must be between 0 and 100",
        ),
        (
            "${{ n.toString(2) }} ${{ n.toString(1) }}",
            "error: Template error at line 1, column 28: toString() radix argument must be between 2 and 36",
        ),
        (
            "${{ n.toPrecision(0) }}",
            "error: Template error at line 1, column 7: toPrecision() argument must be between 1 and 100",
        ),
        (
            "${{ n.toPrecision(3) }} ${{ n.toPrecision() }} ${{ n.toExponential() }} ${{ n.toExponential(2) }}",
            r#""3.00 3 3e+0 3.00e+0""#,
        ),
        (
            "${{ t.toString() }}",
            r#"error: Template error at line 1, column 7: Template value "t.toString" resolved to undefined and cannot be called"#,
        ),
        (
            r#"${{ arr.at(-1) }} ${{ arr.at(5) }} ${{ arr.concat([4],5) | dump }} ${{ arr.includes(2) }} ${{ arr.indexOf(2) }} ${{ arr.lastIndexOf(2) }} ${{ arr.join("-") }} ${{ arr.join() }}"#,
            r#""3  [1,2,3,4,5] true 1 1 1-2-3 1,2,3""#,
        ),
        (
            "${{ nested.flat() | dump }} ${{ nested.flat(2) | dump }} ${{ nested.flat(0) | dump }}",
            r#""[1,2,[3]] [1,2,3] [1,[2,[3]]]""#,
        ),
        ("${{ arr.slice(1) | dump }} ${{ arr.reverse() | dump }} ${{ arr | dump }}", r#""[2,3] [3,2,1] [3,2,1]""#),
        ("${{ [3,1,2,10].sort() | dump }}", r#""[1,10,2,3]""#),
        (r#"${{ ["b",undef,"a",null].sort() | dump }}"#, r#""[\"a\",\"b\",null,null]""#),
        (
            "${{ arr.shift() }} ${{ arr | dump }} ${{ arr.unshift(9, 8) }} ${{ arr | dump }} ${{ arr.pop() }} ${{ arr|dump }}",
            r#""1 [2,3] 4 [9,8,2,3] 3 [9,8,2]""#,
        ),
        ("${{ arr.splice(1, 1, 7, 8) | dump }} ${{ arr | dump }}", r#""[2] [1,7,8,3]""#),
        ("${{ arr.fill(0, 1) | dump }} ${{ arr.copyWithin(0, 1) | dump }}", r#""[1,0,0] [0,0,0]""#),
        ("${{ arr.push(1,2) }} ${{ arr.push() }} ${{ arr|dump }}", r#""5 5 [1,2,3,1,2]""#),
        (
            "${{ arr.sort(1) }}",
            "error: Template error at line 1, column 9: Template intrinsic sort requires 0 positional arguments",
        ),
        ("${{ arr.splice() | dump }} ${{ arr.splice(1) | dump }} ${{ arr | dump}}", r#""[] [2,3] [1]""#),
        ("${{ words.sort().reverse() | join }}", r#""baC""#),
        (
            "${{ obj.keys() }}",
            r#"error: Template error at line 1, column 9: Template value "obj.keys" resolved to undefined and cannot be called"#,
        ),
        (
            r#"${{ obj.length }} ${{ arr.foo }} ${{ arr["length"] }} ${{ name["length"] }} ${{ arr["1"] }} ${{ arr[1.5] }} ${{ arr["01"] }} ${{ name["1"] }}"#,
            r#""  3 5 2   o""#,
        ),
        (
            r#"${{ obj[arr] }} ${{ {"1,2,3": 5}[arr] }} ${{ {"null": 5}[null] }} ${{ {"undefined": 6}[undef] }} ${{ {"true": 7}[true] }} ${{ {"1": 7}[1] }}"#,
            r#"" 5 5 6 7 7""#,
        ),
        (r#"${{ {"[object Object]": 7}[obj] }}"#, "7"),
        ("${{ obj[range] }}", "error: Template error at line 1, column 9: Callable values cannot be coerced"),
        ("${{ range.foo }} ${{ range.length }} ${{ range.name }}", r#""  ""#),
        ("${{ r/a/g.source }} ${{ r/a/g.flags }} ${{ r/a/.lastIndex }} ${{ r/a/g.global }}", r#""   ""#),
        (r#"${{ ("a"|safe).length }} ${{ ("abc"|safe).toUpperCase() }} ${{ ("abc"|safe)[1] }}"#, r#""1 ABC b""#),
        (
            r#"${{ ("a"|safe) == "a" }} ${{ ("a"|safe) === "a" }} ${{ ("a"|safe) ~ "b" }} ${{ "a" in ("abc"|safe) }}"#,
            r#""true false ab false""#,
        ),
        (r#"${{ ("" | safe) or "E" }} ${{ "x" if ""|safe else "y" }}"#, r#"" x""#),
    ]);
}
