//! What a node says of itself in `hello` and in its answer: the map `node`, checked as it is read
//! (`NO_STRANGER`, `DISK_NOT_OLDER`).
//!
//! **Never:** says who the other end is. Its certificate does; this is its claim.

use paravon_model::{Address, ClusterId, Hlc, Membership, NodeId, Ordinal, PeerHello};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::fields::is_address;

/// The part as it travels. A node that belongs to no cluster yet leaves out the fields of one.
#[derive(Serialize, Deserialize)]
struct NodePart {
    node_id: String,
    address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cluster_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rescue_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ordinal: Option<u32>,
    start: u64,
    run: u64,
    ceiling: u64,
}

pub(crate) fn serialize<S: Serializer>(
    hello: &Option<PeerHello>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    hello.as_ref().map(NodePart::from).serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<PeerHello>, D::Error> {
    let part = Option::<NodePart>::deserialize(deserializer)?;
    part.map(|part| part.checked().map_err(D::Error::custom)).transpose()
}

impl From<&PeerHello> for NodePart {
    fn from(hello: &PeerHello) -> Self {
        let membership = hello.membership;
        Self {
            node_id: hello.node_id.as_str().to_owned(),
            address: hello.address.as_str().to_owned(),
            cluster_id: membership.map(|place| place.cluster_id.to_string()),
            generation: membership.map(|place| place.generation),
            rescue_id: membership.map(|place| format!("{:032x}", place.rescue_id)),
            ordinal: membership.map(|place| place.ordinal.0),
            start: hello.start,
            run: hello.run,
            ceiling: hello.ceiling.as_u64(),
        }
    }
}

impl NodePart {
    /// The hello, or the sentence that says what is wrong with the part.
    fn checked(self) -> Result<PeerHello, &'static str> {
        if !is_address(&self.address) {
            return Err("`node.address` must be an address of 1 to 512 printable characters");
        }
        let membership = match (self.cluster_id, self.generation, self.rescue_id, self.ordinal) {
            (None, None, None, None) => None,
            (Some(cluster_id), Some(generation), Some(rescue_id), Some(ordinal)) => {
                Some(Membership {
                    cluster_id: ClusterId(hexadecimal(&cluster_id)?),
                    generation,
                    rescue_id: hexadecimal(&rescue_id)?,
                    ordinal: Ordinal(ordinal),
                })
            }
            _ => return Err("`node` must name all of its cluster or nothing of it"),
        };
        Ok(PeerHello {
            node_id: NodeId::new(&self.node_id).map_err(|_| "`node.node_id` is no node id")?,
            address: Address::new(&self.address),
            membership,
            start: self.start,
            run: self.run,
            ceiling: Hlc::from_u64(self.ceiling),
        })
    }
}

/// The number of these 32 digits.
fn hexadecimal(text: &str) -> Result<u128, &'static str> {
    const WRONG: &str = "`node` must name its cluster by 32 hexadecimal digits";
    let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if digits { u128::from_str_radix(text, 16).map_err(|_| WRONG) } else { Err(WRONG) }
}
