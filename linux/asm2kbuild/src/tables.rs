// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Jump tables become chains of comparisons: the kernel allows no jump through memory.

use std::collections::HashMap;
use std::fmt::Write;

use crate::asm::Line;

/// Prefix of the names of jump tables.
pub(crate) const PREFIX: &str = ".LJTI";

/// The targets of every jump table.
#[derive(Debug, Default)]
pub(crate) struct JumpTables<'a>(HashMap<&'a str, Vec<&'a str>>);

impl<'a> JumpTables<'a> {
    pub(crate) fn find(lines: &[Line<'a>]) -> Self {
        let mut tables: HashMap<&str, Vec<&str>> = HashMap::new();
        let mut current = None;
        for line in lines {
            match *line {
                Line::Label(label) => current = label.starts_with(PREFIX).then_some(label),
                Line::Directive { name: ".quad", arguments } => {
                    if let Some(table) = current {
                        tables.entry(table).or_default().push(arguments);
                    }
                }
                Line::Blank => {}
                _ => current = None,
            }
        }
        Self(tables)
    }

    /// Returns the chain for `jmpq *TABLE(,%REGISTER,8)`; `None` when `target` is no known table.
    ///
    /// The flags are dead there: LLVM keeps none alive into the targets of an indirect jump.
    pub(crate) fn chain(&self, target: &str) -> Option<String> {
        let (table, index) = target.split_once('(')?;
        let register = index.strip_prefix(',')?.strip_suffix(",8)")?;
        let (last, others) = self.0.get(table)?.split_last()?;
        let mut chain = String::new();
        for (value, label) in others.iter().enumerate() {
            let _ = write!(chain, "\tcmpq\t${value}, {register}\n\tje\t{label}\n");
        }
        let _ = writeln!(chain, "\tjmp\t{last}");
        Some(chain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_becomes_a_chain() {
        let source = ".LJTI0_0:\n\t.quad\t.LA\n\t.quad\t.LB\n\t.text\n\t.quad\t.LC\n";
        let tables = JumpTables::find(&source.lines().map(|line| Line::parse(line, "#")).collect::<Vec<_>>());
        let chain = tables.chain(".LJTI0_0(,%rax,8)");
        assert_eq!(chain.as_deref(), Some("\tcmpq\t$0, %rax\n\tje\t.LA\n\tjmp\t.LB\n"));
        assert_eq!(tables.chain(".LJTI9_9(,%rax,8)"), None);
        assert_eq!(tables.chain("8(%rax)"), None);
    }
}
