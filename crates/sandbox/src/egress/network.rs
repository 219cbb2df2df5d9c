//! A range of IPv4 addresses.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An IPv4 network such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: Ipv4Addr,
    bits: u8,
}

impl Network {
    /// A network of `bits` leading bits, at most 32.
    pub(super) const fn of(address: [u8; 4], bits: u8) -> Self {
        let [a, b, c, d] = address;
        Self { address: Ipv4Addr::new(a, b, c, d), bits }
    }

    /// Whether the address lies in it.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
        u32::from(address) & mask == u32::from(self.address)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text} is not an IPv4 network such as 203.0.113.0/24");
        let (address, bits) = text.split_once('/').unwrap_or((text, "32"));
        let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
        let bits: u8 = bits.parse().map_err(|_| wrong())?;
        let network = Self { address, bits };
        if bits > 32 || !network.contains(address) {
            return Err(wrong());
        }
        Ok(network)
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_and_contain() {
        let network: Network = "172.16.0.0/12".parse().unwrap();
        assert!(network.contains(Ipv4Addr::new(172, 31, 255, 255)));
        assert!(!network.contains(Ipv4Addr::new(172, 32, 0, 0)));
        assert_eq!(network.to_string(), "172.16.0.0/12");
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains(Ipv4Addr::new(8, 8, 8, 8)));
        let one: Network = "192.0.2.7".parse().unwrap();
        assert!(one.contains(Ipv4Addr::new(192, 0, 2, 7)) && !one.contains(Ipv4Addr::LOCALHOST));
        for wrong in ["", "10.0.0.1/8", "10.0.0.0/33", "::/0", "10.0.0.0/8; flush ruleset", "1/2"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
