//! The facade over a real socket.

mod auth;
mod batch;
mod behaviour;
mod care;
mod changes;
mod curl;
mod description;
mod limits;
mod logs;
mod remembered;
mod statuses;
mod stream;
mod support;
