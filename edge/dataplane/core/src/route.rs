//! A route as control hands it out: how this edge reaches the source of one room.

/// The way from this edge to a room's source. Paths begin with this edge and end with the source's edge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamRoute {
    /// Room name.
    pub room: String,
    /// The publication that the route leads to.
    pub incarnation: u64,
    /// The edge where the host is connected.
    pub source_edge: String,
    /// The path in use.
    pub primary: Vec<String>,
    /// A relay-disjoint path kept warm; empty when there is none.
    pub backup: Vec<String>,
    /// Why control chose it, for people.
    pub reason: String,
}
