//! Random tags, and what stands around them.

use super::{Grammar, Kind, Node, Sort};

const TEXTS: [&str; 20] = [
    "x", " ", "\n", "\n  ", "  \n", "text ", "a\nb", "\t", "- item\n", "key: ", "\r\n", "<p>", "é😀", "$", "{", "}",
    "%", "#", " {", "\n\n",
];

impl Grammar {
    /// A few statements in a row.
    pub(super) fn statements(&mut self, depth: usize) -> Node {
        let scope = self.scope.len();
        let macros = self.macros.len();
        let count = 1 + self.below(4);
        let statements = (0..count).map(|_| self.statement(depth)).collect();
        // What a body defines may be seen after it or not: both are worth a try.
        if self.chance(70) {
            self.scope.truncate(scope);
            self.macros.truncate(macros);
        }
        Node::row(Sort::Body, statements)
    }

    /// A template about names: what is set, bound and defined where, and where that is seen.
    pub(super) fn scopes(&mut self) -> Node {
        let count = 2 + self.below(3);
        let mut nodes = Vec::new();
        for _ in 0..count {
            nodes.push(self.scoped(3));
        }
        nodes.push(self.shown_names());
        Node::row(Sort::Body, nodes)
    }

    fn scoped(&mut self, depth: usize) -> Node {
        const NAMES: [&str; 5] = ["x", "y", "n", "name", "m"];
        let name = self.pick(&NAMES);
        let other = self.pick(&NAMES);
        let open = if self.cookiecutter { "{{" } else { "${{" };
        if depth == 0 {
            return self.shown_names();
        }
        match self.below(14) {
            0 | 1 => self.shown_names(),
            2..=4 => {
                let value = self.pick(&["1", "2", "'s'", "x", "y", "n", "[1, 2]", "x ~ '.'", "i", "loop.index", "m"]);
                let names = if self.chance(15) { format!("{name}, {other}") } else { name.to_owned() };
                Node::text(Sort::Extra, format!("{{% set {names} = {value} %}}"))
            }
            5 => {
                let body = self.scoped(depth - 1);
                Node::body(&format!("{{% set {name} %}}§{{% endset %}}"), [body])
            }
            6 | 7 => {
                let over =
                    self.pick(&["[1, 2]", "[]", "x", "'ab'", "missing", "{a: 1}", "[[1, 2], [3, 4]]", "n", "arr"]);
                let targets = if self.chance(30) { format!("{name}, {other}") } else { name.to_owned() };
                let body = [self.scoped(depth - 1), self.scoped(depth - 1)];
                let body = Node::row(Sort::Body, body.into());
                if self.chance(40) {
                    let otherwise = self.scoped(depth - 1);
                    let pattern = format!("{{% for {targets} in {over} %}}§{{% else %}}e§{{% endfor %}}");
                    return Node::body(&pattern, [body, otherwise]);
                }
                Node::body(&format!("{{% for {targets} in {over} %}}§{{% endfor %}}"), [body])
            }
            8 => {
                let condition = self.pick(&["true", "false", "x", "t", "z", "n == 1"]);
                let (body, otherwise) = (self.scoped(depth - 1), self.scoped(depth - 1));
                let pattern = format!("{{% if {condition} %}}§{{% else %}}§{{% endif %}}");
                Node::body(&pattern, [body, otherwise])
            }
            9 | 10 => {
                let parameters = self.pick(&["", "x", "n", "x, y=2", "x=y", "a, caller", "x, x", "m"]);
                let macro_name = self.pick(&["m", "x", "f"]);
                let body = [self.scoped(depth - 1), self.scoped(depth - 1)];
                let body = Node::row(Sort::Body, body.into());
                Node::body(&format!("{{% macro {macro_name}({parameters}) %}}§{{% endmacro %}}"), [body])
            }
            11 => {
                let call = self.pick(&["m()", "m(1)", "f(2, 3)", "m(x=4)", "x()", "f(y=5)", "m(1, 2, 3)", "caller()"]);
                Node::text(Sort::Extra, format!("{open} {call} }}}}"))
            }
            12 => {
                let call = self.pick(&["m()", "f(1)", "m(x)"]);
                let parameters = self.pick(&["", "(x)", "(y=1)"]);
                let body = self.scoped(depth - 1);
                Node::body(&format!("{{% call{parameters} {call} %}}§{{% endcall %}}"), [body])
            }
            _ => {
                let body = self.scoped(depth - 1);
                if self.chance(50) {
                    return Node::body("{% filter upper %}§{% endfilter %}", [body]);
                }
                self.blocks += 1;
                Node::body(&format!("{{% block b{} %}}§{{% endblock %}}", self.blocks), [body])
            }
        }
    }

    /// What some names stand for.
    fn shown_names(&mut self) -> Node {
        let open = if self.cookiecutter { "{{" } else { "${{" };
        let names = (0..=self.below(2)).map(|_| {
            let name = self.pick(&["x", "y", "n", "name", "i", "loop.index", "loop.length", "a", "caller() if caller"]);
            Node::text(Sort::Extra, format!("{open} {name} }}}};"))
        });
        Node::row(Sort::Extra, names.collect())
    }

    fn statement(&mut self, depth: usize) -> Node {
        if depth == 0 || !self.spend() {
            return if self.chance(50) { self.plain() } else { self.shown(1) };
        }
        match self.below(22) {
            0..=3 => self.plain(),
            4..=7 => self.shown(3),
            8 | 9 => self.condition_tag(depth - 1),
            10..=12 => self.loop_tag(depth - 1),
            13..=15 => self.set_tag(depth - 1),
            16 => self.macro_tag(depth - 1),
            17 if !self.macros.is_empty() => self.call_tag(depth - 1),
            17 | 18 => self.filter_tag(depth - 1),
            19 => self.switch_tag(depth - 1),
            20 => self.block_tag(depth - 1),
            _ => self.verbatim_or_comment(),
        }
    }

    fn plain(&mut self) -> Node {
        let text = self.pick(&TEXTS);
        Node::text(Sort::Extra, text)
    }

    fn shown(&mut self, depth: usize) -> Node {
        let kind = self.any_kind();
        let expression = self.expr(kind, depth);
        let output = self.output(expression);
        Node::row(Sort::Extra, vec![output])
    }

    /// An interpolation.
    pub(super) fn output(&mut self, expression: Node) -> Node {
        let open = if self.cookiecutter { "{{" } else { "${{" };
        let (left, right) = (self.dash(), self.dash());
        // A dash that is no sign, and a brace that closes no tag.
        let space = if self.chance(95) { " " } else { "" };
        Node::body(&format!("{open}{left}{space}§ {right}}}}}"), [expression])
    }

    fn dash(&mut self) -> &'static str {
        if self.chance(8) { "-" } else { "" }
    }

    /// A block tag around a pattern.
    fn tag(&mut self, inner: &str) -> String {
        let (left, right) = (self.dash(), self.dash());
        let space = if self.chance(97) { " " } else { "" };
        format!("{{%{left}{space}{inner}{space}{right}%}}")
    }

    fn condition_tag(&mut self, depth: usize) -> Node {
        let mut nodes = Vec::new();
        let open = self.tag("if §");
        nodes.push(Node::extra(&open, [self.expr(Kind::Truth, 2)]));
        nodes.push(self.statements(depth));
        if self.chance(25) {
            let word = self.pick(&["elif", "elseif"]);
            let tag = self.tag(&format!("{word} §"));
            let condition = self.expr(Kind::Truth, 2);
            nodes.push(Node::extra(&format!("{tag}§"), [condition, self.statements(depth)]));
        }
        if self.chance(40) {
            let tag = self.tag("else");
            nodes.push(Node::extra(&format!("{tag}§"), [self.statements(depth)]));
        }
        nodes.push(Node::text(Sort::Extra, self.tag("endif")));
        Node::row(Sort::Body, nodes)
    }

    fn loop_tag(&mut self, depth: usize) -> Node {
        let scope = self.scope.len();
        let two = self.chance(25);
        let (targets, over) = if two {
            let over = if self.chance(75) { Kind::Record } else { Kind::List };
            (if self.chance(90) { "k, v" } else { "k, v, w" }, over)
        } else {
            (self.pick(&["i", "j", "x", "n"]), if self.chance(90) { Kind::List } else { Kind::Any })
        };
        let open = self.tag(&format!("for {targets} in §"));
        let head = Node::new(Sort::Extra, &open, [self.expr(over, 2)]);
        for name in targets.split(", ") {
            let kind = if self.chance(50) { Kind::Number } else { Kind::Text };
            self.scope.push((name.to_owned(), kind));
        }
        let outer = std::mem::replace(&mut self.in_loop, true);
        let body = self.statements(depth);
        self.in_loop = outer;
        self.scope.truncate(scope);
        let mut nodes = vec![head, body];
        if self.chance(20) {
            let tag = self.tag("else");
            nodes.push(Node::extra(&format!("{tag}§"), [self.statements(depth)]));
        }
        nodes.push(Node::text(Sort::Extra, self.tag("endfor")));
        Node::row(Sort::Body, nodes)
    }

    fn set_tag(&mut self, depth: usize) -> Node {
        let name = self.pick(&["x", "y", "acc", "n", "name", "arr"]);
        let names = if self.chance(10) { format!("{name}, other") } else { name.to_owned() };
        let kind = match name {
            "n" => Kind::Number,
            "name" => Kind::Text,
            "arr" => Kind::List,
            _ => self.any_kind(),
        };
        let node = if self.chance(20) {
            let (open, close) = (self.tag(&format!("set {names}")), self.tag("endset"));
            Node::body(&format!("{open}§{close}"), [self.statements(depth)])
        } else {
            let open = self.tag(&format!("set {names} = §"));
            Node::extra(&open, [self.expr(kind, 3)])
        };
        self.scope.push((name.to_owned(), kind));
        Node::row(Sort::Extra, vec![node])
    }

    fn macro_tag(&mut self, depth: usize) -> Node {
        let name = self.pick(&["m", "mac", "helper"]);
        let parameters: Vec<&'static str> = ["p", "q", "n"].into_iter().take(self.below(4)).collect();
        let mut signature = Vec::new();
        for (index, parameter) in parameters.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            if self.chance(30) {
                signature.push(Node::extra(&format!("{comma}{parameter}=§"), [self.expr(Kind::Any, 1)]));
            } else {
                signature.push(Node::text(Sort::Extra, format!("{comma}{parameter}")));
            }
        }
        let scope = self.scope.len();
        for parameter in &parameters {
            self.scope.push(((*parameter).to_owned(), Kind::Text));
        }
        // Its own body does not call it: that would hardly end.
        let known = std::mem::take(&mut self.macros);
        let (in_loop, in_macro) = (std::mem::take(&mut self.in_loop), std::mem::replace(&mut self.in_macro, true));
        let body = self.statements(depth);
        (self.in_loop, self.in_macro) = (in_loop, in_macro);
        self.macros = known;
        self.scope.truncate(scope);
        self.macros.push((name.to_owned(), parameters));
        let (open, close) = (self.tag(&format!("macro {name}(§)")), self.tag("endmacro"));
        Node::new(Sort::Extra, &format!("{open}§{close}"), [Node::row(Sort::Extra, signature), body])
    }

    fn call_tag(&mut self, depth: usize) -> Node {
        let parameters = self.pick(&["", "", "()", "(c)"]);
        let (open, close) = (self.tag(&format!("call{parameters} §")), self.tag("endcall"));
        let call = self.macro_call(2);
        Node::body(&format!("{open}§{close}"), [call, self.statements(depth)])
    }

    fn filter_tag(&mut self, depth: usize) -> Node {
        let filter = self.pick(&[
            "upper",
            "lower",
            "title",
            "trim",
            "indent(2)",
            "replace('a', 'b')",
            "escape",
            "wordcount",
            "length",
            "nl2br",
            "truncate(5)",
            "reverse",
            "capitalize",
            "string",
            "safe",
            "first",
            "list",
            "dump",
            "urlencode",
        ]);
        let (open, close) = (self.tag(&format!("filter {filter}")), self.tag("endfilter"));
        Node::body(&format!("{open}§{close}"), [self.statements(depth)])
    }

    fn switch_tag(&mut self, depth: usize) -> Node {
        let kind = if self.chance(50) { Kind::Number } else { Kind::Text };
        let open = self.tag("switch §");
        let mut nodes = vec![Node::new(Sort::Extra, &open, [self.expr(kind, 1)])];
        if self.chance(10) {
            nodes.push(self.plain());
        }
        for index in 0..=self.below(3) {
            let tag = self.tag("case §");
            let sort = if index == 0 { Sort::Body } else { Sort::Extra };
            let value = self.expr(kind, 1);
            let body = if self.chance(25) { Node::text(Sort::Body, "") } else { self.statements(depth) };
            nodes.push(Node::new(sort, &format!("{tag}§"), [value, body]));
        }
        if self.chance(60) {
            let tag = self.tag("default");
            nodes.push(Node::extra(&format!("{tag}§"), [self.statements(depth)]));
        }
        nodes.push(Node::text(Sort::Extra, self.tag("endswitch")));
        Node::row(Sort::Body, nodes)
    }

    fn block_tag(&mut self, depth: usize) -> Node {
        self.blocks += 1;
        let (open, close) = (self.tag(&format!("block b{}", self.blocks)), self.tag("endblock"));
        Node::body(&format!("{open}§{close}"), [self.statements(depth)])
    }

    fn verbatim_or_comment(&mut self) -> Node {
        let inner = self.pick(&["c", " ${{ n }} ", "{% if %}", "\n", " {{ x }} ", "-", ""]);
        let text = match self.below(3) {
            0 => format!("{{#{}{inner}{}#}}", self.dash(), self.dash()),
            1 => format!("{{% raw %}}{inner}{{% endraw %}}"),
            _ => format!("{{% verbatim %}}{inner}{{% endverbatim %}}"),
        };
        Node::text(Sort::Extra, text)
    }
}
