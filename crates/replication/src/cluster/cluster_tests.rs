//! Whole machines over a small network that loses and reorders.

mod changes;
mod crashes;
mod disks;
mod founding;
mod operators;
mod rescue;
mod world;
