//! A model for the tests here: jugs of three and five litres, water without end, and an amount that
//! must not come about.

use std::fmt;

use crate::Model;

pub(crate) struct Jugs {
    pub(crate) forbidden: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("FORBIDDEN_AMOUNT")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pour {
    FillSmall,
    FillLarge,
    EmptySmall,
    EmptyLarge,
    SmallToLarge,
    LargeToSmall,
}

impl Model for Jugs {
    type State = (u8, u8);
    type Action = Pour;
    type Promise = Broken;

    fn first_states(&self) -> Vec<(u8, u8)> {
        vec![(0, 0)]
    }

    fn actions(&self, _: &(u8, u8), actions: &mut Vec<Pour>) {
        actions.extend([
            Pour::FillSmall,
            Pour::FillLarge,
            Pour::EmptySmall,
            Pour::EmptyLarge,
            Pour::SmallToLarge,
            Pour::LargeToSmall,
        ]);
    }

    fn apply(&self, &(small, large): &(u8, u8), pour: Pour) -> (u8, u8) {
        match pour {
            Pour::FillSmall => (3, large),
            Pour::FillLarge => (small, 5),
            Pour::EmptySmall => (0, large),
            Pour::EmptyLarge => (small, 0),
            Pour::SmallToLarge => {
                let poured = small.min(5 - large);
                (small - poured, large + poured)
            }
            Pour::LargeToSmall => {
                let poured = large.min(3 - small);
                (small + poured, large - poured)
            }
        }
    }

    fn broken(&self, &(_, large): &(u8, u8)) -> Option<Broken> {
        (large == self.forbidden).then_some(Broken)
    }

    fn describe(&self, state: &(u8, u8)) -> String {
        format!("{state:?}")
    }
}
