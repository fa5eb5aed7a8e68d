"""`python -m deployments.machine`: get this machine ready for releases and for the tests."""

from deployments.ending import end_with
from deployments.machine.home import Home
from deployments.machine.prepare import prepare
from deployments.set_up import SetUp

if __name__ == "__main__":
    end_with(lambda: prepare(Home(), SetUp()))
