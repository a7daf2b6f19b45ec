//! What was loaded last, kept for who asks again, up to a number of bytes. Two threads that want the same wait for each other and
//! load it once. It knows nothing of what is kept.

use std::sync::{Arc, Mutex};

use crate::pipeline::lock;

/// No more than so many things are kept, however small they are: they are looked through one by one.
const MOST: u64 = 1024;

/// Things that were loaded, by their names.
pub struct Cache<K, V> {
    kept: Mutex<Vec<Kept<K, V>>>,
    /// Bytes that are kept at most, besides those in use.
    limit: u64,
}

/// A thing, or one that a thread is about to load: others wait for it at the lock.
struct Kept<K, V> {
    name: K,
    bytes: u64,
    thing: Slot<V>,
}

type Slot<V> = Arc<Mutex<Option<Arc<V>>>>;

impl<K: PartialEq, V> Cache<K, V> {
    /// One that keeps so many bytes.
    pub fn new(limit: u64) -> Self {
        Self { kept: Mutex::default(), limit }
    }

    /// The thing of that name, which takes so many bytes, from those that are kept or newly loaded. What cannot be loaded is tried
    /// again by the next who asks.
    ///
    /// # Errors
    /// What `load` says.
    pub fn get<E>(&self, name: K, bytes: u64, load: impl FnOnce() -> Result<V, E>) -> Result<Arc<V>, E> {
        let slot = self.slot(name, bytes.max(self.limit / MOST));
        let mut thing = lock(&slot);
        if let Some(thing) = &*thing {
            return Ok(Arc::clone(thing));
        }
        let loaded = Arc::new(load()?);
        *thing = Some(Arc::clone(&loaded));
        Ok(loaded)
    }

    fn slot(&self, name: K, bytes: u64) -> Slot<V> {
        let mut kept = lock(&self.kept);
        let one = match kept.iter().position(|one| one.name == name) {
            Some(at) => kept.remove(at),
            None => Kept { name, bytes, thing: Arc::default() },
        };
        let mut sum = one.bytes;
        // The last one was used last.
        let fit = kept.iter().rev().take_while(|one| {
            sum = sum.saturating_add(one.bytes);
            sum <= self.limit
        });
        let drop = kept.len() - fit.count();
        kept.drain(..drop);
        let slot = Arc::clone(&one.thing);
        kept.push(one);
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_is_kept_up_to_its_limit() {
        let cache = Cache::new(10);
        let loads = Mutex::new(Vec::new());
        let get = |name: u32, bytes| {
            *cache
                .get(name, bytes, || {
                    lock(&loads).push(name);
                    Ok::<_, ()>(name)
                })
                .unwrap()
        };
        for name in [1, 2, 1, 3, 1, 2] {
            assert_eq!(get(name, 4), name);
        }
        assert_eq!(*lock(&loads), [1, 2, 3, 2]);
        // One that is larger than all that may be kept drives out the others, and not itself.
        assert_eq!((get(9, 100), get(9, 100), get(2, 4)), (9, 9, 2));
        assert_eq!(*lock(&loads), [1, 2, 3, 2, 9, 2]);
        assert_eq!(lock(&cache.kept).len(), 1);
    }

    #[test]
    fn what_could_not_be_loaded_is_tried_again() {
        let cache = Cache::new(10);
        assert_eq!(cache.get(1, 1, || Err::<u8, _>("no")), Err("no"));
        assert_eq!(*cache.get(1, 1, || Ok::<_, ()>(7)).unwrap(), 7);
    }
}
