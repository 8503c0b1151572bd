//! Random expressions.

use proptest::prelude::RngExt as _;

use super::library::{Argument, COOKIECUTTER_METHODS, FILTERS, Function, METHODS, TESTS};
use super::{Grammar, Kind, Node, Sort};

const NUMBERS: [&str; 24] = [
    "0",
    "1",
    "2",
    "3",
    "4",
    "5",
    "7",
    "10",
    "12",
    "16",
    "100",
    "1.5",
    "0.5",
    "2.0",
    "3.14159",
    "0.1",
    "0.25",
    "1.",
    "007",
    "1000000",
    "9007199254740993",
    "1000000000000000000000",
    "0.0000001",
    "123456789.123",
];
const BINARY: [&str; 7] = ["+", "-", "*", "/", "//", "%", "**"];
const COMPARISONS: [&str; 9] = ["==", "!=", "===", "!==", "<", "<=", ">", ">=", "=="];

impl Grammar {
    /// An expression that probably gives something of the kind.
    pub(super) fn expr(&mut self, kind: Kind, depth: usize) -> Node {
        let kind = match kind {
            Kind::Any => self.any_kind(),
            _ if self.chance(5) => self.any_kind(),
            kind => kind,
        };
        if depth == 0 || !self.spend() {
            return self.leaf(kind);
        }
        let depth = depth - 1;
        let node = match self.below(20) {
            0..=3 => self.leaf(kind),
            4..=7 => self.filtered(kind, depth),
            8..=9 => self.method_call(kind, depth),
            10 => self.choice(kind, depth),
            11 => self.looked_up(kind, depth),
            12 if !self.macros.is_empty() => self.macro_call(depth),
            _ => self.special(kind, depth),
        };
        if self.chance(15) { Node::expr("(§)", [node]) } else { node }
    }

    /// What is particular to the kind.
    fn special(&mut self, kind: Kind, depth: usize) -> Node {
        match kind {
            Kind::Text => self.text_operation(depth),
            Kind::Number => self.arithmetic(depth),
            Kind::Truth => self.condition(depth),
            Kind::List => self.list(depth),
            Kind::Record | Kind::Any => self.record(depth),
        }
    }

    /// An expression that something can be appended to: `.x`, `[…]`, `(…)`.
    fn primary(&mut self, kind: Kind, depth: usize) -> Node {
        let node = self.expr(kind, depth);
        let plain = node.print();
        let name = plain.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !plain.starts_with(|c: char| c.is_ascii_digit());
        if name || self.chance(4) { node } else { Node::expr("(§)", [node]) }
    }

    fn leaf(&mut self, kind: Kind) -> Node {
        if self.chance(55) {
            return self.name(kind);
        }
        let text = match kind {
            Kind::Text => return self.text_literal(),
            Kind::Number if self.in_loop && self.chance(25) => self.loop_variable(),
            Kind::Number => self.pick(&NUMBERS).to_owned(),
            Kind::Truth if self.in_loop && self.chance(25) => self.pick(&["loop.first", "loop.last"]).to_owned(),
            Kind::Truth if self.cookiecutter => self.pick(&["True", "False", "true", "false"]).to_owned(),
            Kind::Truth => self.pick(&["true", "false"]).to_owned(),
            Kind::List => {
                self.pick(&["[]", "[1, 2, 3]", "['a', 'b']", "[[1], [2, [3]]]", "[none, missing]"]).to_owned()
            }
            Kind::Record => self.pick(&["{}", "{a: 1}", "{'k': 'v', b: [1] }", "{'10': 1, b: 2, '9': 3}"]).to_owned(),
            Kind::Any => self.pick(&["none", "null", "missing", "None", "nil", "0/0", "1/0", "-0"]).to_owned(),
        };
        let text = if self.chance(3) { self.pick(&["none", "null", "missing", "nil"]).to_owned() } else { text };
        Node::text(Sort::Expr, text)
    }

    fn loop_variable(&mut self) -> String {
        let of = self.pick(&["index", "index0", "revindex", "revindex0", "length"]);
        format!("loop.{of}")
    }

    pub(super) fn text_literal(&mut self) -> Node {
        let text = self.text();
        let quote = if self.chance(50) { '"' } else { '\'' };
        let mut literal = String::from(quote);
        for character in text.chars() {
            match character {
                '\n' if self.chance(70) => literal.push_str("\\n"),
                '\r' => literal.push_str("\\r"),
                '\t' => literal.push_str("\\t"),
                '\\' => literal.push_str("\\\\"),
                c if c == quote => literal.extend(['\\', c]),
                c => literal.push(c),
            }
        }
        literal.push(quote);
        Node::text(Sort::Expr, literal)
    }

    fn text_operation(&mut self, depth: usize) -> Node {
        match self.below(6) {
            0 | 1 => Node::expr("§ ~ §", [self.expr(Kind::Any, depth), self.expr(Kind::Any, depth)]),
            2 => Node::expr("§ + §", [self.expr(Kind::Text, depth), self.expr(Kind::Any, depth)]),
            3 => Node::expr("§[§]", [self.primary(Kind::Text, depth), self.index()]),
            4 if self.in_macro && self.chance(50) => Node::text(Sort::Expr, "caller()"),
            _ => self.text_literal(),
        }
    }

    fn arithmetic(&mut self, depth: usize) -> Node {
        match self.below(8) {
            0 => Node::expr("-§", [self.expr(Kind::Number, depth)]),
            1 => Node::expr("+§", [self.expr(Kind::Any, depth)]),
            2 => Node::expr("§.length", [self.primary(Kind::List, depth)]),
            3 => Node::expr("§.length", [self.primary(Kind::Text, depth)]),
            _ => {
                let operator = self.pick(&BINARY);
                let right = if operator == "**" { self.small() } else { self.expr(Kind::Number, depth) };
                Node::expr(&format!("§ {operator} §"), [self.expr(Kind::Number, depth), right])
            }
        }
    }

    fn condition(&mut self, depth: usize) -> Node {
        match self.below(10) {
            0 | 1 => {
                let operator = self.pick(&COMPARISONS);
                let kind = self.any_kind();
                let right = if self.chance(75) { kind } else { Kind::Any };
                Node::expr(&format!("§ {operator} §"), [self.expr(kind, depth), self.expr(right, depth)])
            }
            2 | 3 => self.tested(depth),
            4 => Node::expr("not §", [self.expr(Kind::Any, depth)]),
            5 => {
                let operator = self.pick(&["in", "not in"]);
                let container = if self.chance(60) { Kind::List } else { Kind::Text };
                let container = if self.chance(20) { Kind::Record } else { container };
                let item = if container == Kind::List { Kind::Any } else { Kind::Text };
                Node::expr(&format!("§ {operator} §"), [self.expr(item, depth), self.expr(container, depth)])
            }
            6 => {
                let regex = self.regex();
                Node::expr("§.test(§)", [regex, self.expr(Kind::Text, depth)])
            }
            _ => {
                let operator = self.pick(&["and", "or"]);
                Node::expr(&format!("§ {operator} §"), [self.expr(Kind::Any, depth), self.expr(Kind::Any, depth)])
            }
        }
    }

    fn tested(&mut self, depth: usize) -> Node {
        let test = self.pick(&TESTS);
        let not = if self.chance(25) { "not " } else { "" };
        let value = self.expr(test.of, depth);
        if test.parameters.is_empty() && !self.chance(3) {
            return Node::expr(&format!("§ is {not}{}", test.name), [value]);
        }
        let arguments = self.arguments(&test, depth, false);
        Node::expr(&format!("§ is {not}{}(§)", test.name), [value, arguments])
    }

    fn list(&mut self, depth: usize) -> Node {
        match self.below(7) {
            0 | 1 => {
                let items = self.items(depth);
                Node::expr("[§]", [items])
            }
            2 => {
                let kind = if self.chance(70) { Kind::List } else { Kind::Text };
                let parts = [self.primary(kind, depth), self.slice()];
                Node::expr("§[§]", parts)
            }
            3 => {
                let count = self.pick(&["3", "5", "n", "0", "-2", "1.5", "m"]);
                Node::text(Sort::Expr, format!("range({count})"))
            }
            4 => {
                let (start, stop) = (self.rng.random_range(-3..6), self.rng.random_range(-3..12));
                let step = self.pick(&["", ", 2", ", -1", ", 0.5", ", 3"]);
                Node::text(Sort::Expr, format!("range({start}, {stop}{step})"))
            }
            _ => self.filtered(Kind::List, depth),
        }
    }

    fn items(&mut self, depth: usize) -> Node {
        let kind = if self.chance(50) { Kind::Number } else { Kind::Any };
        let mut items = Vec::new();
        for index in 0..self.below(5) {
            let pattern = if index == 0 { "§" } else { ", §" };
            let sort = if index == 0 { Sort::Expr } else { Sort::Extra };
            items.push(Node::new(sort, pattern, [self.expr(kind, depth)]));
        }
        Node::row(Sort::Extra, items)
    }

    fn record(&mut self, depth: usize) -> Node {
        let mut entries = Vec::new();
        for index in 0..self.below(4) {
            let key = self.key();
            let bare = key.chars().all(|c| c.is_ascii_alphabetic()) && self.chance(60);
            let key = if bare { key.to_owned() } else { format!("'{key}'") };
            let comma = if index == 0 { "" } else { ", " };
            entries.push(Node::extra(&format!("{comma}{key}: §"), [self.expr(Kind::Any, depth)]));
        }
        let close = if self.chance(8) { "}" } else { " }" };
        Node::expr(&format!("{{§{close}"), [Node::row(Sort::Extra, entries)])
    }

    fn filtered(&mut self, kind: Kind, depth: usize) -> Node {
        let fitting: Vec<Function> = FILTERS.iter().filter(|filter| filter.gives == kind).copied().collect();
        let filter = if fitting.is_empty() || self.chance(15) { self.pick(&FILTERS) } else { self.pick(&fitting) };
        let of = if self.chance(6) { Kind::Any } else { filter.of };
        let value = self.expr(of, depth);
        let value = if self.chance(70) { Node::expr("(§)", [value]) } else { value };
        let bar = self.pick(&[" | ", "|"]);
        let name = if self.cookiecutter && filter.name == "dump" && self.chance(50) { "jsonify" } else { filter.name };
        if filter.required == 0 && self.chance(if filter.parameters.is_empty() { 95 } else { 50 }) {
            return Node::expr(&format!("§{bar}{name}"), [value]);
        }
        let arguments = self.arguments(&filter, depth, true);
        Node::expr(&format!("§{bar}{name}(§)"), [value, arguments])
    }

    fn method_call(&mut self, kind: Kind, depth: usize) -> Node {
        let methods: &[Function] = if self.cookiecutter && self.chance(50) { &COOKIECUTTER_METHODS } else { &METHODS };
        let fitting: Vec<Function> = methods.iter().filter(|method| method.gives == kind).copied().collect();
        let method = if fitting.is_empty() || self.chance(15) { self.pick(methods) } else { self.pick(&fitting) };
        let value = self.primary(method.of, depth);
        let arguments = self.arguments(&method, depth, false);
        Node::expr(&format!("§.{}(§)", method.name), [value, arguments])
    }

    fn arguments(&mut self, function: &Function, depth: usize, keywords: bool) -> Node {
        let mut count = function.required + self.below(function.parameters.len() - function.required + 1);
        if self.chance(2) {
            count = self.below(4);
        }
        let mut nodes = Vec::new();
        let mut named = false;
        for index in 0..count {
            let parameter = function.parameters.get(index);
            let argument = parameter.map_or(Argument::Of(Kind::Any), |parameter| parameter.1);
            let value = self.argument(argument, depth);
            named = named || (keywords && self.chance(10));
            let comma = if index == 0 { "" } else { ", " };
            let name = match parameter {
                Some(parameter) if named => format!("{}=", parameter.0),
                _ => String::new(),
            };
            nodes.push(Node::extra(&format!("{comma}{name}§"), [value]));
        }
        Node::row(Sort::Extra, nodes)
    }

    fn argument(&mut self, argument: Argument, depth: usize) -> Node {
        match argument {
            Argument::Of(kind) => self.expr(kind, depth.min(2)),
            Argument::Small if self.chance(6) => self.leaf(Kind::Any),
            Argument::Small => self.small(),
            Argument::Key if self.chance(5) => self.leaf(Kind::Any),
            Argument::Key => {
                let key = self.pick(&["'k'", "'v'", "'name'", "'a'", "'length'", "'zz'", "'k.v'", "0"]);
                Node::text(Sort::Expr, key)
            }
            Argument::Pattern if self.chance(35) => self.regex(),
            Argument::Pattern => {
                if self.chance(50) {
                    let text = self.pick(&["''", "'a'", "'-'", "','", "' '", "'b'", "'o'", "'aa'", "'\\n'"]);
                    Node::text(Sort::Expr, text)
                } else {
                    self.expr(Kind::Text, 1)
                }
            }
            Argument::Word(words) => {
                let word = self.pick(words);
                Node::text(Sort::Expr, word)
            }
        }
    }

    fn small(&mut self) -> Node {
        let number = self.pick(&["0", "1", "2", "3", "4", "5", "8", "10", "-1", "-2", "1.5", "20"]);
        Node::text(Sort::Expr, number)
    }

    fn index(&mut self) -> Node {
        let index = self.pick(&["0", "1", "2", "-1", "5", "n", "'0'", "'length'", "1.5", "'a'"]);
        Node::text(Sort::Expr, index)
    }

    fn slice(&mut self) -> Node {
        let start = self.pick(&["", "0", "1", "2", "-1", "-2", "n"]);
        let stop = self.pick(&["", "0", "1", "3", "-1", "9"]);
        let step = self.pick(&["", "", ":", ":1", ":2", ":-1", ":-2"]);
        Node::text(Sort::Extra, format!("{start}:{stop}{step}"))
    }

    fn choice(&mut self, kind: Kind, depth: usize) -> Node {
        let (value, condition) = (self.expr(kind, depth), self.expr(Kind::Truth, depth));
        if self.chance(20) {
            return Node::expr("(§ if §)", [value, condition]);
        }
        let otherwise = self.expr(kind, depth);
        let pattern = if self.chance(80) { "(§ if § else §)" } else { "§ if § else §" };
        Node::expr(pattern, [value, condition, otherwise])
    }

    fn looked_up(&mut self, kind: Kind, depth: usize) -> Node {
        match self.below(5) {
            0 => {
                let key = self.pick(&["a", "b", "k", "v", "name", "length", "items", "1a", "zz"]);
                Node::expr(&format!("§.{key}"), [self.primary(Kind::Record, depth)])
            }
            1 => Node::expr("§[§]", [self.primary(Kind::Record, depth), self.expr(Kind::Text, depth)]),
            2 | 3 => Node::expr("§[§]", [self.primary(Kind::List, depth), self.index()]),
            _ => {
                let key = self.key();
                let entry = if kind == Kind::Any { self.any_kind() } else { kind };
                let record = Node::expr(&format!("{{'{key}': § }}"), [self.expr(entry, depth)]);
                Node::expr(&format!("§['{key}']"), [record])
            }
        }
    }

    pub(super) fn macro_call(&mut self, depth: usize) -> Node {
        let macros = self.macros.clone();
        let (name, parameters) = self.pick(&macros);
        let mut arguments = Vec::new();
        let mut named = false;
        for (index, parameter) in parameters.iter().enumerate() {
            if self.chance(20) {
                break;
            }
            named = named || self.chance(15);
            let comma = if index == 0 { "" } else { ", " };
            let prefix = if named { format!("{parameter}=") } else { String::new() };
            arguments.push(Node::extra(&format!("{comma}{prefix}§"), [self.expr(Kind::Any, depth)]));
        }
        Node::expr(&format!("{name}(§)"), [Node::row(Sort::Extra, arguments)])
    }

    /// A regular expression that no engine needs long for.
    pub(super) fn regex(&mut self) -> Node {
        let mut pattern = String::new();
        for _ in 0..=self.below(3) {
            let piece = match self.below(14) {
                0..=3 => self.pick(&["a", "b", "o", "l", " ", "-", "x", "e"]).to_owned(),
                4 => self.pick(&["[a-z]", "[^a-z]", "[A-Z]", "[0-9a-f]", "[-_. ]", "[\\s\\S]", "[^]", "[]"]).to_owned(),
                5 => self.pick(&["\\d", "\\w", "\\s", "\\W", "\\S", "\\D", "\\b", "\\B"]).to_owned(),
                6 => self.pick(&["^", "$", "."]).to_owned(),
                7 => self
                    .pick(&["(a)", "(o|l)", "(?:ab|a)", "([a-z])([a-z])", "(?<q>[a-z])", "(x)?", "(a|b)*"])
                    .to_owned(),
                8 => self.pick(&["(?=a)", "(?!a)", "(?<=a)", "(?<!a)"]).to_owned(),
                9 => self.pick(&["([a-z])\\1", "\\.", "\\n", "\\t", "\\x41", "\\u0041", "\\-", "\\/"]).to_owned(),
                _ => self.pick(&["ab", "the", "é", "😀", ","]).to_owned(),
            };
            pattern.push_str(&piece);
            if !piece.starts_with("(?") && !piece.ends_with(['^', '$', 'b', 'B', '*', '?']) && self.chance(30) {
                pattern.push_str(self.pick(&["*", "+", "?", "{2}", "{1,2}", "+?", "*?", "{0,3}?"]));
            }
        }
        let flags = self.pick(&["", "", "g", "g", "i", "gi", "m", "gm", "y", "gy", "gim"]);
        Node::text(Sort::Expr, format!("r/{pattern}/{flags}"))
    }
}
