//! Places for those who follow the change feed, of which no subject has more than its part.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::auth::Principal;
use crate::error::Failure;

/// Of so many places one subject may have one, rounded up.
const PARTS: usize = 4;

/// The places of one router.
pub(crate) struct Followers {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    /// Of each subject that has any, by tenant and subject.
    by_subject: HashMap<Subject, usize>,
}

type Subject = (String, String);

impl Followers {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            taken: Mutex::default(),
        })
    }

    /// A place for the caller, until it is dropped.
    pub(crate) fn enter(self: &Arc<Self>, caller: &Principal) -> Result<Place, Failure> {
        let mut taken = self.taken();
        if taken.all >= self.most {
            return Err(Failure::overloaded(
                "too many clients follow the changes already: try again later",
            ));
        }
        let subject = (caller.tenant.clone(), caller.subject.clone());
        let own = taken.by_subject.get(&subject).copied().unwrap_or_default();
        if own >= self.most.div_ceil(PARTS) {
            return Err(Failure::overloaded(
                "this subject has as many clients that follow the changes as one may have: end one, or try again later",
            ));
        }
        taken.by_subject.insert(subject.clone(), own + 1);
        taken.all += 1;
        Ok(Place {
            followers: Arc::clone(self),
            subject,
        })
    }

    /// What it guards is whole whenever the lock is free.
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One place.
pub(crate) struct Place {
    followers: Arc<Followers>,
    subject: Subject,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.followers.taken();
        taken.all -= 1;
        match taken.by_subject.get_mut(&self.subject) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.by_subject.remove(&self.subject)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(tenant: &str, subject: &str) -> Principal {
        Principal::new(tenant, subject, [])
    }

    #[test]
    fn a_subject_has_a_quarter_of_the_places_and_all_have_no_more_than_there_are() {
        let followers = Followers::new(6);
        let (ann, others) = (one("acme", "ann"), ["a", "b", "c"].map(|name| one("other", name)));
        let enter = |who: &Principal| {
            followers
                .enter(who)
                .map_err(|failure| failure.entries[0].detail.clone())
        };
        let first = enter(&ann).unwrap();
        let _second = enter(&ann).unwrap();
        assert!(enter(&ann).err().unwrap().contains("end one"));
        // Of that name in another tenant is another.
        let third = enter(&one("other", "ann")).unwrap();
        drop(first);
        let _again = enter(&ann).unwrap();
        let _more: Vec<Place> = others.iter().map(|who| enter(who).unwrap()).collect();
        assert!(enter(&others[0]).err().unwrap().contains("too many clients"));
        drop(third);
        let _last = enter(&others[0]).unwrap();
        assert_eq!(followers.taken().by_subject.values().sum::<usize>(), 6);
    }

    #[test]
    fn of_few_places_each_subject_may_have_one() {
        let followers = Followers::new(1);
        let place = followers.enter(&one("acme", "ann")).ok().unwrap();
        assert!(followers.enter(&one("acme", "rita")).is_err());
        drop(place);
        assert!(followers.taken().by_subject.is_empty());
        assert!(Followers::new(0).enter(&one("acme", "ann")).is_err());
    }
}
