//! Random templates: valid nearly always, and weighted so that most of them evaluate.

mod data;
mod expression;
mod library;
mod mutation;
mod statement;

use std::sync::Arc;

use proptest::prelude::RngExt as _;
use proptest::strategy::{NewTree, Strategy, ValueTree};
use proptest::test_runner::{TestRng, TestRunner};
use serde_json::Value as Json;
use understudy_corpus::{Case, Mode, Options};

use super::tree::{Node, Sort};

/// Cases for a differential run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Templates;

impl Strategy for Templates {
    type Tree = Shrinking;
    type Value = Case;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let mut grammar = Grammar::new(runner.new_rng());
        let options = grammar.options();
        let context = grammar.data();
        let root = grammar.template();
        let root = if grammar.chance(8) {
            let mutated = grammar.mutated(&root.print());
            Root::Text(mutated)
        } else {
            Root::Tree(root)
        };
        Ok(Shrinking { best: Candidate { root, context, options }, tried: None, queue: Vec::new() })
    }
}

/// A case on its way to a smaller one that still fails.
#[derive(Debug, Clone)]
pub(super) struct Shrinking {
    /// The smallest that is known to fail.
    best: Candidate,
    /// What is being tried instead.
    tried: Option<Candidate>,
    /// What to try afterwards, the last first.
    queue: Vec<Candidate>,
}

#[derive(Debug, Clone)]
struct Candidate {
    root: Root,
    context: serde_json::Map<String, Json>,
    options: Options,
}

#[derive(Debug, Clone)]
enum Root {
    Tree(Node),
    /// A mutated source: no tree any more.
    Text(String),
}

impl Candidate {
    fn case(&self) -> Case {
        let source = match &self.root {
            Root::Tree(node) => node.print(),
            Root::Text(text) => text.clone(),
        };
        Case { source, context: Arc::new(Json::Object(self.context.clone())), options: self.options }
    }

    fn smaller(&self) -> Vec<Self> {
        let roots = match &self.root {
            Root::Tree(node) => node.smaller().into_iter().map(Root::Tree).collect(),
            Root::Text(text) => shorter(text).into_iter().map(Root::Text).collect::<Vec<_>>(),
        };
        let mut found: Vec<Self> = roots.into_iter().map(|root| Self { root, ..self.clone() }).collect();
        for name in self.context.keys() {
            let mut context = self.context.clone();
            context.shift_remove(name);
            found.push(Self { context, ..self.clone() });
        }
        if self.options != Options::default() && !self.options.cookiecutter {
            found.push(Self { options: Options::default(), ..self.clone() });
        }
        found
    }
}

/// The text without a piece of it, larger pieces first.
fn shorter(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut piece = characters.len() / 2;
    while piece > 0 {
        for start in (0..characters.len()).step_by(piece) {
            let end = (start + piece).min(characters.len());
            found.push(characters[..start].iter().chain(&characters[end..]).collect());
        }
        piece /= 2;
    }
    found
}

impl ValueTree for Shrinking {
    type Value = Case;

    fn current(&self) -> Case {
        self.tried.as_ref().unwrap_or(&self.best).case()
    }

    fn simplify(&mut self) -> bool {
        if let Some(smaller) = self.tried.take() {
            self.best = smaller;
            self.queue.clear();
        }
        if self.queue.is_empty() {
            self.queue = self.best.smaller();
            self.queue.reverse();
        }
        self.tried = self.queue.pop();
        self.tried.is_some()
    }

    fn complicate(&mut self) -> bool {
        self.tried = self.queue.pop();
        self.tried.is_some()
    }
}

/// What an expression is wanted to give. Nothing forbids that it gives something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Any,
    Text,
    Number,
    Truth,
    List,
    Record,
}

const KINDS: [Kind; 5] = [Kind::Text, Kind::Number, Kind::Truth, Kind::List, Kind::Record];

/// The state of one template's making.
struct Grammar {
    rng: TestRng,
    cookiecutter: bool,
    /// Names in scope with what they probably hold.
    scope: Vec<(String, Kind)>,
    /// Macros in scope with their parameters.
    macros: Vec<(String, Vec<&'static str>)>,
    /// How many blocks there are: their names must differ.
    blocks: usize,
    in_loop: bool,
    in_macro: bool,
    /// How many more nodes may have children.
    fuel: u32,
}

impl Grammar {
    fn new(rng: TestRng) -> Self {
        Self {
            rng,
            cookiecutter: false,
            scope: data::NAMES.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect(),
            macros: Vec::new(),
            blocks: 0,
            in_loop: false,
            in_macro: false,
            fuel: 0,
        }
    }

    fn options(&mut self) -> Options {
        self.cookiecutter = self.chance(12);
        Options {
            mode: if self.chance(15) { Mode::Text } else { Mode::Value },
            cookiecutter: self.cookiecutter,
            trim_blocks: self.chance(12),
            lstrip_blocks: self.chance(12),
        }
    }

    /// A whole template: a sole expression about half of the time.
    fn template(&mut self) -> Node {
        if self.chance(20) {
            return self.scopes();
        }
        self.fuel = self.below(14) as u32 + 1;
        if self.chance(50) {
            let kind = self.any_kind();
            let expression = self.expr(kind, 4);
            return self.output(expression);
        }
        self.statements(3)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.rng.random_range(0..limit.max(1))
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }

    fn any_kind(&mut self) -> Kind {
        self.pick(&KINDS)
    }

    fn spend(&mut self) -> bool {
        self.fuel = self.fuel.saturating_sub(1);
        self.fuel > 0
    }

    /// A name in scope that probably holds something of the kind.
    fn name(&mut self, kind: Kind) -> Node {
        let names: Vec<String> = self
            .scope
            .iter()
            .filter(|(_, is)| kind == Kind::Any || *is == kind)
            .map(|(name, _)| name.clone())
            .collect();
        let name = if names.is_empty() || self.chance(2) { "missing".to_owned() } else { self.pick(&names) };
        Node::text(Sort::Expr, name)
    }
}
