//! Who reaches whom by Kubernetes' NetworkPolicies, reckoned without a cluster.
//!
//! Read as the API defines them: whoever no policy selects is open, policies only add to each other, and a connection needs
//! both ends. Connections are those after a Service's address was translated. What the API leaves to the network plugin is a
//! choice of the caller ([`IpBlocks`]); that a node always reaches its own pods is left out.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::Value;

/// Names with values.
pub type Labels = BTreeMap<String, String>;

/// A pod, as far as policies look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its labels.
    pub labels: Labels,
    /// Its named ports, with their protocols.
    pub ports: Vec<(String, &'static str, u16)>,
}

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End<'a> {
    /// Its address.
    pub address: IpAddr,
    /// The pod there, if it is one.
    pub pod: Option<&'a Pod>,
}

/// What somebody tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection<'a> {
    /// Who calls.
    pub from: End<'a>,
    /// Who is called.
    pub to: End<'a>,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: &'static str,
    /// The port of the called.
    pub port: u16,
}

/// Whom a rule for addresses is about: plugins differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpBlocks {
    /// Everybody with such an address, pods too.
    Everybody,
    /// Everybody but pods.
    NoPods,
}

/// Namespaces with their policies.
#[derive(Debug)]
pub struct Network {
    namespaces: BTreeMap<String, Labels>,
    policies: Vec<Policy>,
}

impl Network {
    /// Namespaces by name with their labels, and policies as they are applied. A policy with a field that is not known here
    /// is refused: it would be reckoned wrong.
    pub fn new(namespaces: BTreeMap<String, Labels>, policies: &[Value]) -> Result<Self> {
        let policies = policies.iter().map(Policy::read).collect::<Result<_>>()?;
        Ok(Self { namespaces, policies })
    }

    /// Whether the connection comes about.
    pub fn allows(&self, connection: &Connection<'_>, blocks: IpBlocks) -> bool {
        self.leaves(connection, blocks) && self.enters(connection, blocks)
    }

    fn leaves(&self, connection: &Connection<'_>, blocks: IpBlocks) -> bool {
        self.passes(Direction::Egress, connection.from, connection.to, connection, blocks)
    }

    fn enters(&self, connection: &Connection<'_>, blocks: IpBlocks) -> bool {
        self.passes(Direction::Ingress, connection.to, connection.from, connection, blocks)
    }

    /// Whether the policies that are about `own` let it talk to `other`.
    fn passes(
        &self,
        direction: Direction,
        own: End<'_>,
        other: End<'_>,
        connection: &Connection<'_>,
        blocks: IpBlocks,
    ) -> bool {
        let Some(pod) = own.pod else { return true };
        let mut about = self.policies.iter().filter(|policy| policy.is_about(pod, direction)).peekable();
        if about.peek().is_none() {
            return true;
        }
        about.any(|policy| {
            let mut rules = policy.rules(direction).iter();
            rules.any(|rule| rule.has_port(connection) && self.has_peer(rule, other, &policy.namespace, blocks))
        })
    }

    fn has_peer(&self, rule: &Rule, other: End<'_>, namespace: &str, blocks: IpBlocks) -> bool {
        rule.peers.is_empty() || rule.peers.iter().any(|peer| self.is_peer(peer, other, namespace, blocks))
    }

    fn is_peer(&self, peer: &Peer, other: End<'_>, namespace: &str, blocks: IpBlocks) -> bool {
        if let Some(block) = &peer.ip_block {
            let concerned = other.pod.is_none() || blocks == IpBlocks::Everybody;
            return concerned && block.holds(other.address);
        }
        let Some(pod) = other.pod else { return false };
        let placed = match &peer.namespace_selector {
            Some(selector) => self.namespaces.get(&pod.namespace).is_some_and(|labels| selector.selects(labels)),
            None => pod.namespace == namespace,
        };
        placed && peer.pod_selector.as_ref().is_none_or(|selector| selector.selects(&pod.labels))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Direction {
    Ingress,
    Egress,
}

#[derive(Debug)]
struct Policy {
    namespace: String,
    spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    pod_selector: Selector,
    policy_types: Option<Vec<Direction>>,
    #[serde(default)]
    ingress: Vec<Rule>,
    #[serde(default)]
    egress: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// None means everybody.
    #[serde(default, alias = "from", alias = "to")]
    peers: Vec<Peer>,
    /// None means every port.
    #[serde(default)]
    ports: Vec<Port>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Peer {
    pod_selector: Option<Selector>,
    namespace_selector: Option<Selector>,
    ip_block: Option<Block>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    cidr: Cidr,
    #[serde(default)]
    except: Vec<Cidr>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Port {
    protocol: Option<String>,
    port: Option<PortRef>,
    end_port: Option<u16>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum PortRef {
    Number(u16),
    Name(String),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Selector {
    #[serde(default)]
    match_labels: Labels,
    #[serde(default)]
    match_expressions: Vec<Expression>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expression {
    key: String,
    operator: Operator,
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

/// A network such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Cidr {
    base: IpAddr,
    bits: u32,
}

impl Policy {
    fn read(object: &Value) -> Result<Self> {
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
        let namespace = namespace.with_context(|| format!("the policy {name} has no namespace"))?.to_owned();
        let spec =
            Spec::deserialize(&object["spec"]).with_context(|| format!("the policy {name} is not understood"))?;
        Ok(Self { namespace, spec })
    }

    fn is_about(&self, pod: &Pod, direction: Direction) -> bool {
        let named = match &self.spec.policy_types {
            Some(types) => types.contains(&direction),
            // Ingress always; egress only if it says something about that.
            None => direction == Direction::Ingress || !self.spec.egress.is_empty(),
        };
        named && self.namespace == pod.namespace && self.spec.pod_selector.selects(&pod.labels)
    }

    fn rules(&self, direction: Direction) -> &[Rule] {
        match direction {
            Direction::Ingress => &self.spec.ingress,
            Direction::Egress => &self.spec.egress,
        }
    }
}

impl Rule {
    fn has_port(&self, connection: &Connection<'_>) -> bool {
        self.ports.is_empty() || self.ports.iter().any(|port| port.is_that_of(connection))
    }
}

impl Port {
    fn is_that_of(&self, connection: &Connection<'_>) -> bool {
        if self.protocol.as_deref().unwrap_or("TCP") != connection.protocol {
            return false;
        }
        match &self.port {
            None => true,
            Some(PortRef::Number(first)) => (*first..=self.end_port.unwrap_or(*first)).contains(&connection.port),
            // A name is one of the called pod's.
            Some(PortRef::Name(name)) => connection.to.pod.is_some_and(|pod| {
                let mut ports = pod.ports.iter();
                ports.any(|(known, protocol, port)| {
                    known == name && *protocol == connection.protocol && *port == connection.port
                })
            }),
        }
    }
}

impl Selector {
    fn selects(&self, labels: &Labels) -> bool {
        self.match_labels.iter().all(|(name, value)| labels.get(name) == Some(value))
            && self.match_expressions.iter().all(|expression| expression.holds(labels))
    }
}

impl Expression {
    fn holds(&self, labels: &Labels) -> bool {
        let found = labels.get(&self.key);
        let is_among = found.is_some_and(|value| self.values.contains(value));
        match self.operator {
            Operator::In => is_among,
            Operator::NotIn => !is_among,
            Operator::Exists => found.is_some(),
            Operator::DoesNotExist => found.is_none(),
        }
    }
}

impl Block {
    fn holds(&self, address: IpAddr) -> bool {
        self.cidr.holds(address) && !self.except.iter().any(|except| except.holds(address))
    }
}

impl Cidr {
    fn holds(&self, address: IpAddr) -> bool {
        let (width, differs) = match (address, self.base) {
            (IpAddr::V4(address), IpAddr::V4(base)) => (32, u128::from(address.to_bits() ^ base.to_bits())),
            (IpAddr::V6(address), IpAddr::V6(base)) => (128, address.to_bits() ^ base.to_bits()),
            _ => return false,
        };
        differs.checked_shr(width - self.bits).unwrap_or(0) == 0
    }
}

impl TryFrom<String> for Cidr {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl FromStr for Cidr {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (base, bits) = text.split_once('/').with_context(|| format!("{text} is no network"))?;
        let (base, bits): (IpAddr, u32) = (base.parse()?, bits.parse()?);
        anyhow::ensure!(bits <= if base.is_ipv4() { 32 } else { 128 }, "{text} is no network");
        Ok(Self { base, bits })
    }
}

#[cfg(test)]
mod tests;
