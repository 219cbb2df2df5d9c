//! A document that only the server writes: one shared map of JSON values, which clients read
//! through the same sync protocol as texts (folder listings, terminals, ports, people).

use std::collections::BTreeMap;

use serde_json::Value;
use yrs::{Any, Doc, Map, MapRef};

use crate::Rejected;
use crate::known::Known;
use crate::scan::{MAX_CLIENT_ID, scan_state_vector};
use crate::yrs_door::{self, Broken};

/// A map by string, read by clients as `doc.getMap(name)`.
pub struct SharedMap {
    doc: Doc,
    map: MapRef,
    known: Known,
    values: BTreeMap<String, Value>,
    writes: u64,
}

impl std::fmt::Debug for SharedMap {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SharedMap").field("values", &self.values).finish_non_exhaustive()
    }
}

impl SharedMap {
    /// An empty map under `name`, written as `client_id`: a random number below 2^53 that was
    /// never used in this document before.
    pub fn new(client_id: u64, name: &str) -> Self {
        let doc = yrs_door::new_doc(client_id & MAX_CLIENT_ID);
        let map = doc.get_or_insert_map(name);
        Self { doc, map, known: Known::default(), values: BTreeMap::new(), writes: 0 }
    }

    /// Sets a value and returns the update for the readers, or `None` when it was the value
    /// already.
    ///
    /// # Errors
    /// Only [`Rejected::Broken`]: make a new map with a new client id and generation.
    pub fn set(&mut self, key: &str, value: Value) -> Result<Option<Vec<u8>>, Rejected> {
        if self.values.get(key) == Some(&value) {
            return Ok(None);
        }
        let any = to_any(&value);
        let map = self.map.clone();
        let update = self.write(|txn| {
            map.insert(txn, key, any);
        })?;
        self.values.insert(key.to_owned(), value);
        Ok(update)
    }

    /// Removes a value and returns the update, or `None` when there was none.
    ///
    /// # Errors
    /// As [`SharedMap::set`].
    pub fn remove(&mut self, key: &str) -> Result<Option<Vec<u8>>, Rejected> {
        if self.values.remove(key).is_none() {
            return Ok(None);
        }
        let map = self.map.clone();
        self.write(|txn| {
            map.remove(txn, key);
        })
    }

    /// Makes the map hold exactly `values`, in one update.
    ///
    /// # Errors
    /// As [`SharedMap::set`].
    pub fn replace(
        &mut self,
        values: BTreeMap<String, Value>,
    ) -> Result<Option<Vec<u8>>, Rejected> {
        let gone: Vec<_> =
            self.values.keys().filter(|key| !values.contains_key(*key)).cloned().collect();
        let changed: Vec<_> = values
            .iter()
            .filter(|(key, value)| self.values.get(*key) != Some(*value))
            .map(|(key, value)| (key.clone(), to_any(value)))
            .collect();
        let map = self.map.clone();
        let update = self.write(|txn| {
            for key in &gone {
                map.remove(txn, key);
            }
            for (key, value) in changed {
                map.insert(txn, key, value);
            }
        })?;
        self.values = values;
        Ok(update)
    }

    fn write(
        &mut self,
        change: impl FnOnce(&mut yrs::TransactionMut<'_>),
    ) -> Result<Option<Vec<u8>>, Rejected> {
        let Some((update, effect)) = yrs_door::edit(&self.doc, change)? else {
            return Ok(None);
        };
        self.known.note(&effect);
        self.writes += effect.inserted.len() as u64;
        Ok(Some(update))
    }

    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// All values by key.
    pub fn values(&self) -> &BTreeMap<String, Value> {
        &self.values
    }

    /// Whether overwritten values have left so much behind that the map should be made anew,
    /// as a new generation.
    pub fn is_bloated(&self) -> bool {
        self.writes > 20_000 && self.writes > 20 * self.values.len() as u64
    }

    /// The state vector, v1.
    pub fn state_vector(&self) -> Vec<u8> {
        self.known.encode_state_vector()
    }

    /// Everything as one update, v1.
    ///
    /// # Errors
    /// Only [`Rejected::Broken`].
    pub fn encode_state(&self) -> Result<Vec<u8>, Rejected> {
        Ok(yrs_door::encode(&self.doc, &[])?)
    }

    /// What a reader with this state vector lacks.
    ///
    /// # Errors
    /// When the state vector is malformed or the map is broken.
    pub fn encode_diff(&self, state_vector: &[u8]) -> Result<Vec<u8>, Rejected> {
        let clocks = scan_state_vector(state_vector)?;
        yrs_door::encode(&self.doc, &clocks).map_err(|Broken| Rejected::Broken)
    }
}

fn to_any(value: &Value) -> Any {
    match value {
        Value::Null => Any::Null,
        Value::Bool(flag) => Any::Bool(*flag),
        // As JavaScript has it; a 64-bit integer would arrive as a BigInt.
        Value::Number(number) => Any::from(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Any::from(text.as_str()),
        Value::Array(items) => Any::Array(items.iter().map(to_any).collect()),
        Value::Object(fields) => Any::from(
            fields
                .iter()
                .map(|(key, value)| (key.clone(), to_any(value)))
                .collect::<std::collections::HashMap<_, _>>(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use yrs::types::ToJson;
    use yrs::updates::decoder::Decode;
    use yrs::{ReadTxn, Transact, Update};

    use super::*;

    fn read(reader: &Doc, name: &str) -> Value {
        let txn = reader.transact();
        let map = txn.get_map(name).expect("the map");
        serde_json::to_value(map.to_json(&txn)).expect("JSON")
    }

    fn apply(reader: &Doc, update: &[u8]) {
        let update = Update::decode_v1(update).expect("an update");
        reader.transact_mut().apply_update(update).expect("applies");
    }

    #[test]
    fn readers_see_what_the_server_writes() {
        let mut map = SharedMap::new(1, "folder");
        let reader = yrs_door::new_doc(2);
        reader.get_or_insert_map("folder");
        let entry = json!({"name": "a", "size": 3_000_000_000u64, "tags": [1, 2.5, null, true]});
        let update = map.set("a", entry.clone()).expect("sets").expect("changes");
        apply(&reader, &update);
        assert_eq!(map.set("a", entry.clone()), Ok(None));
        let two = BTreeMap::from([("b".to_owned(), json!(1)), ("c".to_owned(), json!("x"))]);
        apply(&reader, &map.replace(two).expect("replaces").expect("changes"));
        assert_eq!(read(&reader, "folder"), json!({"b": 1, "c": "x"}));
        apply(&reader, &map.remove("b").expect("removes").expect("changes"));
        assert_eq!(map.remove("b"), Ok(None));
        assert_eq!(read(&reader, "folder"), json!({"c": "x"}));
        // Someone who comes later.
        let late = yrs_door::new_doc(3);
        late.get_or_insert_map("folder");
        apply(&late, &map.encode_state().expect("encodes"));
        assert_eq!(read(&late, "folder"), json!({"c": "x"}));
        assert_eq!(map.get("c"), Some(&json!("x")));
        let known = map.state_vector();
        assert_eq!(map.encode_diff(&known).expect("encodes")[0], 0);
        assert!(map.encode_diff(&[9]).is_err());
    }

    #[test]
    fn a_map_written_for_long_says_so() {
        let mut map = SharedMap::new(1, "live");
        for value in 0..20_001 {
            assert!(!map.is_bloated());
            map.set("usage", json!(value)).expect("sets");
        }
        assert!(map.is_bloated());
    }
}
