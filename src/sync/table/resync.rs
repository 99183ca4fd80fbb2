// SPDX-License-Identifier: Apache-2.0
//! Leads from whatever the kernel holds to what it should hold.

use nix::libc::{EBUSY, EEXIST, EINVAL, ENOENT, EOPNOTSUPP};

use super::{Table, send};
use crate::backend::{Error, Nftables, Sent};
use crate::model::IpFamily;
use crate::plan::ledger::Ledger;
use crate::plan::nft::SetId;
use crate::plan::resync::{self, Doubt, Look};
use crate::plan::structure::{self, Structure};

impl Table {
    /// Leads from whatever the kernel holds to the ledger's sum. Elements that are not in doubt are
    /// as we left them.
    pub(super) fn resync(
        &mut self,
        doubt: Doubt,
        kernel: &mut dyn Nftables,
    ) -> Result<Sent, Error> {
        let found = match kernel.read_table(self.family) {
            Ok(found) => found,
            // Another version's, with what this one has never seen.
            Err(Error::Malformed(_)) => return self.replace(kernel),
            Err(error) => return Err(error),
        };
        let Some(found) = found else {
            self.figures.drifted = self.written;
            let all = resync::from_nothing(&self.ledger);
            return send(all, self.family, kernel, &mut self.figures.kernel);
        };
        let Some(mut structure) = structure::compare(&self.ledger, &found, self.family) else {
            return self.replace(kernel);
        };
        kernel.adopt(self.family)?;
        match compare(&self.ledger, self.family, &doubt, kernel, &mut structure) {
            Err(Error::Malformed(_)) => return self.replace(kernel),
            compared => compared?,
        }
        let differs = structure.differs();
        self.figures.drifted |= differs && self.written;
        let took = &mut self.figures.kernel;
        match send(structure.commits(), self.family, kernel, took) {
            Err(error) if differs && in_the_way(&error) => self.replace(kernel),
            done => done,
        }
    }

    /// Puts the sum in the place of whatever there is.
    fn replace(&mut self, kernel: &mut dyn Nftables) -> Result<Sent, Error> {
        kernel.adopt(self.family)?;
        self.figures.drifted = self.written;
        let replacement = [resync::replacement(&self.ledger)];
        send(replacement, self.family, kernel, &mut self.figures.kernel)
    }
}

/// Notes what differs between the elements in doubt as they should be and as the kernel has them.
fn compare(
    ledger: &Ledger,
    family: IpFamily,
    doubt: &Doubt,
    kernel: &mut dyn Nftables,
    structure: &mut Structure,
) -> Result<(), Error> {
    let Structure { change, fresh, .. } = structure;
    for set in SetId::ALL {
        if fresh.contains(&set) {
            resync::elements(ledger, set, &[], change);
            continue;
        }
        match doubt.look(set) {
            Look::No => {}
            Look::At(keys) => {
                for key in keys {
                    let found = kernel.read_element(family, set, &key)?;
                    resync::element(ledger, set, &key, found.as_ref(), change);
                }
            }
            Look::Whole => {
                let elements = kernel.read_elements(family, set)?;
                resync::elements(ledger, set, &elements, change);
            }
        }
    }
    Ok(())
}

/// Whether the kernel has found something in the way, not something wrong with us.
fn in_the_way(error: &Error) -> bool {
    matches!(
        error.errno(),
        Some(EBUSY | EEXIST | EINVAL | ENOENT | EOPNOTSUPP)
    )
}
