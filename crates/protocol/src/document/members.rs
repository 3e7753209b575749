//! Members and layouts in the document: each member is written once, and a layout names members by
//! their ordinals.

use std::collections::BTreeMap;

use paravon_model::limits::MAX_MEMBERS;
use paravon_model::{Address, Document, Member, NodeId, Ordinal, Roster, Size};

use crate::maps::{keep, read_list, required, write_list, write_number, wrong};
use crate::peer::fields::{read_address, read_node_id, read_ordinal, read_size, write_ordinal};
use crate::peer::items::Items;
use crate::reader::{DecodeError, Reader};
use crate::writer;

type Read<T> = Result<T, DecodeError>;

/// Every layout of the document with the field that holds it.
pub(super) fn rosters(document: &Document) -> impl Iterator<Item = (&'static str, &Roster)> {
    let next = document.joint().map(|joint| ("next", &joint.next));
    let past = document.past.iter();
    let past = past.flat_map(|change| [("past", &change.from), ("past", &change.to)]);
    [("current", &document.current)].into_iter().chain(next).chain(past)
}

/// Every member of every layout once, by ordinal. An ordinal is never reused, so it means one member.
pub(super) fn distinct(document: &Document) -> Vec<&Member> {
    let members = rosters(document).flat_map(|(_, roster)| &roster.members);
    let distinct: BTreeMap<_, _> = members.map(|member| (member.ordinal, member)).collect();
    distinct.into_values().collect()
}

pub(super) fn write_member(out: &mut Vec<u8>, member: &Member) {
    writer::map(out, 4 + u32::from(member.zone.is_some()));
    write_number(out, "ordinal", u64::from(member.ordinal.0));
    writer::text(out, "node_id");
    writer::text(out, member.node_id.as_str());
    writer::text(out, "size");
    writer::text(out, member.size.name());
    if let Some(zone) = &member.zone {
        writer::text(out, "zone");
        writer::text(out, zone.as_str());
    }
    writer::text(out, "address");
    writer::text(out, member.address.as_str());
}

pub(super) fn read_member(reader: &mut Reader<'_>) -> Read<Member> {
    let (mut ordinal, mut node_id, mut size) = (None, None, None);
    let (mut zone, mut address) = (None::<NodeId>, None::<Address>);
    for _ in 0..reader.at("members").map()? {
        match reader.at("members").text()? {
            "ordinal" => keep(&mut ordinal, reader.at("ordinal"), read_ordinal)?,
            "node_id" => keep(&mut node_id, reader.at("node_id"), read_node_id)?,
            "size" => keep::<Size>(&mut size, reader.at("size"), read_size)?,
            "zone" => keep(&mut zone, reader.at("zone"), read_node_id)?,
            "address" => keep(&mut address, reader.at("address"), read_address)?,
            _ => reader.skip()?,
        }
    }
    Ok(Member {
        ordinal: required(ordinal, "ordinal")?,
        node_id: required(node_id, "node_id")?,
        size: required(size, "size")?,
        zone,
        address: required(address, "address")?,
    })
}

/// A layout: copies that were asked for, and ordinals.
pub(super) fn write_roster(out: &mut Vec<u8>, roster: &Roster) {
    writer::array(out, 2);
    writer::unsigned(out, u64::from(roster.replication_factor));
    write_list(out, &roster.members, |out, member| write_ordinal(out, &member.ordinal));
}

/// A layout as it was read. Its members may stand behind it in the map.
pub(super) struct Listed {
    replication_factor: u8,
    ordinals: Vec<Ordinal>,
}

impl Listed {
    pub(super) fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let mut items = Items::of(reader)?;
        let replication_factor = items.at("replication_factor")?.fitting()?;
        let ordinals = read_list(items.at("ordinals")?, MAX_MEMBERS, read_ordinal)?;
        items.end()?;
        Ok(Self { replication_factor, ordinals })
    }

    /// The layout, whose members are among `members`. `field` holds it.
    pub(super) fn resolve(self, field: &'static str, members: &[Member]) -> Read<Roster> {
        let find = |ordinal: &Ordinal| {
            let found = members.binary_search_by_key(ordinal, |member| member.ordinal);
            match found {
                Ok(at) => Ok(members[at].clone()),
                Err(_) => wrong(field, "ordinals that `members` names"),
            }
        };
        let members = self.ordinals.iter().map(find).collect::<Read<_>>()?;
        Ok(Roster { members, replication_factor: self.replication_factor })
    }
}
