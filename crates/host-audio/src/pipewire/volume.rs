//! The volume and the mute of a stream's node, as every mixer sees and sets them.
//!
//! The server heeds no message of a client while a property of that client's node is set for it, and the node's answer is such
//! a message. So volumes are set as any other program would: over a connection of its own, made when there is one to set.

use super::format;
use super::node::pod;
use super::server::{Access, Client, Failure};
use pipewire::context::ContextRc;
use pipewire::node::Node;
use pipewire::permissions::PermissionFlags;
use pipewire::properties::PropertiesBox;
use pipewire::registry::{GlobalObject, RegistryRc};
use pipewire::spa::param::ParamType;
use pipewire::types::ObjectType;
use std::cell::OnceCell;

/// The node as the second connection has it; dropped in this order.
struct Bound {
    node: Node,
    _registry: RegistryRc,
}

pub(super) struct VolumeControl {
    context: ContextRc,
    access: Access,
    node_id: u32,
    bound: OnceCell<Bound>,
}

impl VolumeControl {
    pub fn new(client: &Client, access: Access, node_id: u32) -> Self {
        Self { context: client.context.clone(), access, node_id, bound: OnceCell::new() }
    }

    /// Sets the linear volume of each channel, and mute.
    pub fn set(&self, channels: Vec<f32>, mute: bool) -> Result<(), Failure> {
        let props = format::volume(channels, mute);
        let bound = match self.bound.get() {
            Some(bound) => bound,
            None => {
                let bound = self.bind()?;
                self.bound.get_or_init(|| bound)
            }
        };
        bound.node.set_param(ParamType::Props, 0, pod(&props)?);
        Ok(())
    }

    fn bind(&self) -> Result<Bound, Failure> {
        let registry = self.access.connect(&self.context)?.get_registry_rc()?;
        let own = GlobalObject {
            id: self.node_id,
            permissions: PermissionFlags::empty(),
            type_: ObjectType::Node,
            version: 0,
            props: None::<PropertiesBox>,
        };
        Ok(Bound { node: registry.bind(&own)?, _registry: registry })
    }
}
