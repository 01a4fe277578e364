//! The nodes of a card's frontend directory, as libxl writes them.

use sndif::store::node;

use crate::card::{Card, Params};

/// A node below a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Path below the directory.
    pub path: String,
    /// Value.
    pub value: String,
}

/// The nodes that describe `card`, without those of the connection.
#[must_use]
pub fn frontend_nodes(card: &Card) -> Vec<Node> {
    let mut nodes = Vec::new();
    put(&mut nodes, "", node::LONG_NAME, card.long_name.as_deref());
    put(&mut nodes, "", node::SHORT_NAME, card.short_name.as_deref());
    put_params(&mut nodes, "", &card.params);
    for (index, pcm) in card.pcms.iter().enumerate() {
        let prefix = format!("{index}/");
        put(&mut nodes, &prefix, node::NAME, pcm.name.as_deref());
        put_params(&mut nodes, &prefix, &pcm.params);
        for (index, stream) in pcm.streams.iter().enumerate() {
            let prefix = format!("{prefix}{index}/");
            put(&mut nodes, &prefix, node::UNIQUE_ID, stream.unique_id.as_deref());
            put(&mut nodes, &prefix, node::TYPE, Some(stream.direction.node()));
            put_params(&mut nodes, &prefix, &stream.params);
        }
    }
    nodes
}

fn put(nodes: &mut Vec<Node>, prefix: &str, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        nodes.push(Node { path: format!("{prefix}{name}"), value: value.to_owned() });
    }
}

fn put_params(nodes: &mut Vec<Node>, prefix: &str, params: &Params) {
    let list = |items: Vec<String>| (!items.is_empty()).then(|| items.join(","));
    let rates = list(params.sample_rates.iter().map(u32::to_string).collect());
    let formats = list(params.sample_formats.iter().map(|format| format.xl_name().to_owned()).collect());
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    put(nodes, prefix, node::SAMPLE_RATES, rates.as_deref());
    put(nodes, prefix, node::SAMPLE_FORMATS, formats.as_deref());
    put(nodes, prefix, node::CHANNELS_MIN, number(params.channels_min).as_deref());
    put(nodes, prefix, node::CHANNELS_MAX, number(params.channels_max).as_deref());
    put(nodes, prefix, node::BUFFER_SIZE, number(params.buffer_size).as_deref());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_separated_by_commas_in_the_store() {
        let cards = crate::parse(
            "[['CARD, sample-rates=8000;48000', 'STREAM, unique-id=a, type=c, sample-formats=f32_le;u8']]",
        )
        .unwrap();
        let nodes: Vec<String> =
            frontend_nodes(&cards[0]).into_iter().map(|node| format!("{}={}", node.path, node.value)).collect();
        assert_eq!(nodes, ["sample-rates=8000,48000", "0/0/unique-id=a", "0/0/type=c", "0/0/sample-formats=f32_le,u8"]);
    }
}
