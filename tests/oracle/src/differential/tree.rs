//! Generated templates as trees, so that what differs can be cut down to what matters.

/// What a node may be replaced by when a template is made smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// Any other body, or nothing.
    Body,
    /// Any other expression.
    Expr,
    /// Nothing.
    Extra,
}

/// A piece of a template.
#[derive(Debug, Clone)]
pub(super) struct Node {
    sort: Sort,
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Node(Node),
}

/// Stands for a child in the patterns that nodes are made of.
const CHILD: char = '§';

impl Node {
    /// A node written as `pattern` says, with a child for each `§`. A pattern with another number of them is a mistake
    /// of the grammar; what is missing stays out.
    pub(super) fn new(sort: Sort, pattern: &str, children: impl IntoIterator<Item = Node>) -> Self {
        let mut children = children.into_iter();
        let mut parts = Vec::new();
        for (index, text) in pattern.split(CHILD).enumerate() {
            if index > 0 {
                parts.extend(children.next().map(Part::Node));
            }
            if !text.is_empty() {
                parts.push(Part::Text(text.to_owned()));
            }
        }
        debug_assert!(children.next().is_none(), "too many children for {pattern:?}");
        Self { sort, parts }
    }

    pub(super) fn expr(pattern: &str, children: impl IntoIterator<Item = Node>) -> Self {
        Self::new(Sort::Expr, pattern, children)
    }

    pub(super) fn body(pattern: &str, children: impl IntoIterator<Item = Node>) -> Self {
        Self::new(Sort::Body, pattern, children)
    }

    pub(super) fn extra(pattern: &str, children: impl IntoIterator<Item = Node>) -> Self {
        Self::new(Sort::Extra, pattern, children)
    }

    /// A node of children in a row.
    pub(super) fn row(sort: Sort, children: Vec<Node>) -> Self {
        Self { sort, parts: children.into_iter().map(Part::Node).collect() }
    }

    /// The text as it is, without children.
    pub(super) fn text(sort: Sort, text: impl Into<String>) -> Self {
        Self { sort, parts: vec![Part::Text(text.into())] }
    }

    /// The template.
    pub(super) fn print(&self) -> String {
        let mut text = String::new();
        self.print_to(&mut text);
        text
    }

    fn print_to(&self, to: &mut String) {
        for part in &self.parts {
            match part {
                Part::Text(text) => to.push_str(text),
                Part::Node(node) => node.print_to(to),
            }
        }
    }

    /// Smaller trees, the smallest first.
    pub(super) fn smaller(&self) -> Vec<Node> {
        let mut found = Vec::new();
        let mut paths = vec![Vec::new()];
        let mut next = 0;
        while let Some(path) = paths.get(next).cloned() {
            next += 1;
            let Some(node) = self.at(&path) else { continue };
            for replacement in node.replacements() {
                found.push(self.with(&path, replacement));
            }
            for (index, part) in node.parts.iter().enumerate() {
                if matches!(part, Part::Node(_)) {
                    let mut child = path.clone();
                    child.push(index);
                    paths.push(child);
                }
            }
        }
        found
    }

    fn at(&self, path: &[usize]) -> Option<&Node> {
        path.iter().try_fold(self, |node, index| match node.parts.get(*index) {
            Some(Part::Node(child)) => Some(child),
            _ => None,
        })
    }

    fn with(&self, path: &[usize], replacement: Node) -> Node {
        let Some((first, rest)) = path.split_first() else { return replacement };
        let mut copy = self.clone();
        if let Some(Part::Node(child)) = copy.parts.get_mut(*first) {
            *child = child.with(rest, replacement);
        }
        copy
    }

    /// What may stand in the place of this node.
    fn replacements(&self) -> Vec<Node> {
        let length = self.print().len();
        let mut found = Vec::new();
        match self.sort {
            Sort::Extra => found.push(Node { sort: Sort::Extra, parts: Vec::new() }),
            Sort::Body => {
                found.push(Node { sort: Sort::Body, parts: Vec::new() });
                self.nearest(Sort::Body, &mut found);
            }
            Sort::Expr => {
                found.extend(["1", "'a'", "[1]"].map(|text| Node::text(Sort::Expr, text)));
                self.nearest(Sort::Expr, &mut found);
            }
        }
        found.retain(|node| node.print().len() < length);
        found
    }

    fn nearest(&self, sort: Sort, found: &mut Vec<Node>) {
        for part in &self.parts {
            if let Part::Node(node) = part {
                if node.sort == sort {
                    found.push(node.clone());
                } else {
                    node.nearest(sort, found);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_shrinks() {
        let sum = Node::expr("§ + §", [Node::text(Sort::Expr, "abc"), Node::text(Sort::Expr, "2")]);
        let tree = Node::body("${{ § }}", [sum]);
        assert_eq!(tree.print(), "${{ abc + 2 }}");
        let smaller: Vec<String> = tree.smaller().iter().map(Node::print).collect();
        assert_eq!(smaller[0], "");
        for expected in ["${{ 1 }}", "${{ abc }}", "${{ 2 }}", "${{ 1 + 2 }}"] {
            assert!(smaller.iter().any(|text| text == expected), "{expected} in {smaller:?}");
        }
    }
}
