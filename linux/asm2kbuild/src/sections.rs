// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Sections of the module, into which rustc's sections (one per function or constant) are folded.

/// Destination of a section's contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section<'a> {
    /// Into this section (the arguments of `.section`).
    Keep(&'a str),
    /// Nowhere: notes, and data for debuggers.
    Drop,
}

const FOLDED: [(&str, &str); 6] = [
    (".text.unlikely.", ".text.unlikely,\"ax\",@progbits"),
    (".text.", ".text,\"ax\",@progbits"),
    (".rodata.", ".rodata,\"a\",@progbits"),
    (".data.rel.ro", ".rodata,\"a\",@progbits"),
    (".data.", ".data,\"aw\",@progbits"),
    (".bss.", ".bss,\"aw\",@nobits"),
];

/// Returns the destination for the arguments of `.section`; `None` for a section of unknown purpose.
pub(crate) fn section(arguments: &str) -> Option<Section<'_>> {
    // A name is quoted when it holds a `$`.
    let name = arguments.split(',').next().unwrap_or(arguments).trim_matches('"');
    if name.starts_with(".debug") || name.starts_with(".note") {
        return Some(Section::Drop);
    }
    // The linker merges equal strings and constants.
    if name.starts_with(".rodata.str") || name.starts_with(".rodata.cst") {
        return Some(Section::Keep(arguments));
    }
    if [".text", ".rodata", ".data", ".bss"].contains(&name) {
        return Some(Section::Keep(arguments));
    }
    FOLDED.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|&(_, into)| Section::Keep(into))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_folded_kept_dropped_or_refused() {
        let text = Some(Section::Keep(".text,\"ax\",@progbits"));
        assert_eq!(section("\".text._RNv$f\",\"ax\",@progbits"), text);
        let merged = ".rodata.cst16,\"aM\",@progbits,16";
        assert_eq!(section(merged), Some(Section::Keep(merged)));
        assert_eq!(section(".data.rel.ro..L__unnamed_1,\"aw\",@progbits"), Some(Section::Keep(FOLDED[2].1)));
        assert_eq!(section(".debug_info,\"\",@progbits"), Some(Section::Drop));
        assert_eq!(section(".tbss.x,\"awT\",@nobits"), None);
        assert_eq!(section(".init_array,\"aw\""), None);
    }
}
