//! The device tree, by which a machine, or Xen's tools in its place, says what there is: the little of it that beep wants to know.
//!
//! Sources: chapter 5 of the Devicetree Specification; `Documentation/devicetree/bindings/arm/xen.txt` of Linux.

/// Bytes that say how long the tree is, and where its parts are.
pub const HEADER_BYTES: usize = 40;

const MAGIC: u32 = 0xd00d_feed;
/// More is not allowed.
const BYTES_MAX: usize = 2 * 1024 * 1024;

/// Offsets in the header.
mod header {
    pub const LEN: usize = 4;
    pub const NODES: usize = 8;
    pub const NAMES: usize = 12;
}

/// Words with which the parts of nodes begin.
mod token {
    pub const BEGIN_NODE: u32 = 1;
    pub const END_NODE: u32 = 2;
    pub const PROPERTY: u32 = 3;
    pub const NOTHING: u32 = 4;
}

/// Bytes of the tree with this header; `None` where it is no tree's.
pub fn len(header: &[u8]) -> Option<usize> {
    let len = word(header, header::LEN)? as usize;
    (word(header, 0)? == MAGIC && (HEADER_BYTES..=BYTES_MAX).contains(&len)).then_some(len)
}

/// Address of the region for the grant table, which is the first one of Xen's node; `None` where there is no such node.
pub fn grant_table(tree: &[u8]) -> Option<u64> {
    let names = tree.get(word(tree, header::NAMES)? as usize..)?;
    let mut at = word(tree, header::NODES)? as usize;
    // Words of an address, unless the root says something else.
    let mut address_words = 2;
    let (mut depth, mut is_xen, mut regions) = (0_u32, false, None);
    loop {
        let token = word(tree, at)?;
        at += 4;
        match token {
            token::BEGIN_NODE => {
                at += text(tree.get(at..)?)?.len() + 1;
                depth += 1;
                (is_xen, regions) = (false, None);
            }
            token::END_NODE => depth = depth.checked_sub(1)?,
            token::PROPERTY => {
                let (len, name) = (word(tree, at)? as usize, word(tree, at + 4)? as usize);
                let value = tree.get(at + 8..)?.get(..len)?;
                at += 8 + len;
                match (depth, text(names.get(name..)?)?) {
                    (1, b"#address-cells") => address_words = word(value, 0)? as usize,
                    (2, b"compatible") => is_xen = value.split(|byte| *byte == 0).any(|name| name == b"xen,xen"),
                    (2, b"reg") => regions = value.get(..address_words * 4),
                    _ => {}
                }
                if let (true, Some(address)) = (is_xen, regions) {
                    return Some(address.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)));
                }
            }
            token::NOTHING => {}
            _ => return None,
        }
        at = at.next_multiple_of(4);
    }
}

fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
}

/// The text at the beginning, which ends with a zero.
fn text(bytes: &[u8]) -> Option<&[u8]> {
    bytes.split(|byte| *byte == 0).next()
}
