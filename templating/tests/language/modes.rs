//! Cookiecutter mode, whitespace options, and contexts of their own.

use super::{check_with, engine};
use serde_json::json;
use understudy_templating::Engine;

#[test]
fn cookiecutter_mode() {
    let engine = Engine::builder().cookiecutter(true).build();
    check_with(
        &engine,
        &super::context(),
        "{{ name }} ${{ name }} {{ None }} {{ {'a':True,'b':[1,None]}|jsonify }}",
        r#""world $world  {\"a\":true,\"b\":[1,null]}""#,
    );
    check_with(&engine, &super::context(), "{{ True }}", "true");
    check_with(
        &engine,
        &super::context(),
        "{{ obj.items() }}{{ obj.keys() }}{{ obj.get('zz', 4) }}{{ obj.has_key('a') }}",
        r#""a,1,b,x,c,[object Object]a,b,c4true""#,
    );
    check_with(
        &engine,
        &super::context(),
        "{{ obj.keys }}",
        "error: Template error at line 1, column 1: Callable values cannot be coerced",
    );
    check_with(
        &engine,
        &super::context(),
        "{{ arr.append(5) }}|{{ arr }}|{{ arr.count(1) }}|{{ arr.find(2) }}|{{ arr.index(2) }}|{{ arr.insert(0, 9) }}|{{ arr }}|{{ arr.remove(9) }}|{{ arr }}|{{ arr.pop(0) }}|{{ arr }}",
        r#""4|1,2,3,5|1|1|1||9,1,2,3,5|9|1,2,3,5|1|2,3,5""#,
    );
    check_with(&engine, &super::context(), "{{ arr.index(77) }}", "-1");
    check_with(&engine, &super::context(), "{{ arr.find(77) }}", "-1");
    check_with(&engine, &super::context(), "{{ arr.remove(77) }}", "[]");
    check_with(&engine, &super::context(), "{{ arr.pop(77) }}", "undefined");
    check_with(
        &engine,
        &super::context(),
        "{{ obj.get('a') }} {{ obj.get('zz') }} {{ obj.items() | dump }} {{ obj.values() | dump }} {{ obj.keys() | dump }} {{ obj.has_key('zz') }} {{ obj.get() }}",
        "error: Template error at line 1, column 146: Template intrinsic get requires 1 to 2 positional arguments",
    );
    check_with(
        &engine,
        &super::context(),
        "{{ obj.items | dump }}",
        "error: Template error at line 1, column 16: Callable values cannot be coerced",
    );
    check_with(
        &engine,
        &super::context(),
        "{% for k, v in obj.items() %}{{ k }}={{ v }};{% endfor %}",
        r#""a=1;b=x;c=[object Object];""#,
    );
    check_with(
        &engine,
        &super::context(),
        "{{ name.upper() }}",
        r#"error: Template error at line 1, column 9: Template value "name.upper" resolved to undefined and cannot be called"#,
    );
    check_with(&engine, &super::context(), "{{ {'get': 5}.get }}", "5");
    check_with(
        &engine,
        &super::context(),
        "{{ {'get': 5}.get('a') }}",
        "error: Template error at line 1, column 15: Template expression resolved to number and cannot be called",
    );
    check_with(
        &engine,
        &super::context(),
        "{{ obj.pop('a') }}",
        r#"error: Template error at line 1, column 8: Template value "obj.pop" resolved to undefined and cannot be called"#,
    );
    check_with(
        &engine,
        &super::context(),
        "{{ arr[-1] }} {{ name[-1] }} {{ arr[-2:] }} {{ name[1:3] }}",
        r#""  2,3 o,r""#,
    );
    check_with(
        &engine,
        &super::context(),
        "{{ arr | jsonify }} {{ arr|tojson }}",
        r#"error: Template error at line 1, column 28: Unknown template filter "tojson""#,
    );
    check_with(
        &engine,
        &super::context(),
        "{{ arr.find(2) }} {{ arr.extend([1]) }}",
        r#"error: Template error at line 1, column 26: Template value "arr.extend" resolved to undefined and cannot be called"#,
    );
}

#[test]
fn whitespace_options() {
    let build = |trim, lstrip| Engine::builder().trim_blocks(trim).lstrip_blocks(lstrip).build();
    check_with(&build(true, false), &super::context(), "{% if t %}\n  x\n  {% endif %}\ny", r#""  x\n  y""#);
    check_with(&build(false, true), &super::context(), "{% if t %}\n  x\n  {% endif %}\ny", r#""\n  x\n\ny""#);
    check_with(&build(true, true), &super::context(), "{% if t %}\r\n  x\r\n  {% endif %}\r\ny", r#""  x\r\ny""#);
    check_with(&build(true, true), &super::context(), "  {# c #}\n  ${{ n }}\ny", r#""  \n  3\ny""#);
}

#[test]
fn own_contexts() {
    check_with(
        &engine(),
        &json!({"o": {"b": 1, "2": 1, "1": 1, "a": 1}}),
        "${{ o | dump }}{% for k,v in o %}${{ k }}{% endfor %}",
        r#""{\"1\":1,\"2\":1,\"b\":1,\"a\":1}12ba""#,
    );
    check_with(
        &engine(),
        &json!({"o": {"constructor": 1}}),
        "${{ o }}",
        "context: Template record key constructor is reserved",
    );
    check_with(
        &engine(),
        &json!({"constructor": 1}),
        "${{ 1 }}",
        "context: Template record key constructor is reserved",
    );
    check_with(&engine(), &json!({"o": {}, "k": "constructor"}), "${{ o[k] }}", "undefined");
    check_with(&engine(), &json!({"o": {}, "k": "constructor"}), "${{ k in o }}", "false");
    check_with(
        &engine(),
        &json!({"a": [{"k": "constructor"}]}),
        "${{ a | groupby('k') | dump }}",
        r#"error: Template error at line 1, column 9: Filter "groupby" failed for array input: Template record key constructor is reserved"#,
    );
    check_with(
        &engine(),
        &json!({"a": [{"k": 1}]}),
        "${{ a | join(',', 'constructor') }}",
        r#"error: Template error at line 1, column 9: Filter "join" failed for array input: Template attribute constructor is reserved"#,
    );
    check_with(
        &engine(),
        &json!({"a": [{"k": 1}]}),
        "${{ a | sort(attribute='__proto__') }}",
        r#"error: Template error at line 1, column 9: Filter "sort" failed for array input: Template attribute __proto__ is reserved"#,
    );
    check_with(
        &Engine::builder().cookiecutter(true).build(),
        &json!({"o": {}}),
        "${{ o.get('constructor') }} {{ o.get('constructor', 3) }}",
        r#""$ 3""#,
    );
}
