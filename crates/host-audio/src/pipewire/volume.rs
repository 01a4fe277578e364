//! Follows the volume and the mute of a stream's node on the server. Users of the host set them; this program never
//! does.

use super::format;
use super::server::{Client, Failure};
use super::state::State;
use pipewire::node::{Node, NodeListener};
use pipewire::permissions::PermissionFlags;
use pipewire::properties::PropertiesBox;
use pipewire::registry::{GlobalObject, RegistryRc};
use pipewire::spa::param::ParamType;
use pipewire::types::ObjectType;
use std::sync::Arc;

/// The node as every mixer sees it; the fields are dropped in this order.
pub(super) struct VolumeWatch {
    _listener: NodeListener,
    _node: Node,
    _registry: RegistryRc,
}

impl VolumeWatch {
    /// Reports volume and mute of the node with this number to `state`.
    pub fn begin(client: &Client, node_id: u32, state: &Arc<State>) -> Result<Self, Failure> {
        let registry = client.core.get_registry_rc()?;
        let own = GlobalObject {
            id: node_id,
            permissions: PermissionFlags::empty(),
            type_: ObjectType::Node,
            version: 0,
            props: None::<PropertiesBox>,
        };
        let node: Node = registry.bind(&own)?;
        let told = Arc::clone(state);
        let param = move |_, id, _, _, param: Option<&pipewire::spa::pod::Pod>| {
            if let Some(volume) = param.filter(|_| id == ParamType::Props).and_then(format::volume) {
                told.set_volume(volume);
            }
        };
        let listener = node.add_listener_local().param(param).register();
        node.subscribe_params(&[ParamType::Props]);
        Ok(Self { _listener: listener, _node: node, _registry: registry })
    }
}
