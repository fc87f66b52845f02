"""`ServoBus`: the registers of the motors on one serial bus, by the library's own bus.

Every value is in the motor's own unit. What is written is read back.
"""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any

from ...errors import RobotError

RETRIES = 2
"""Of each exchange on the bus: a damaged packet is no failure."""
POLL_S = 0.005
"""The library polls the port without a pause; with this a read waits in the kernel."""
TORQUE = "Torque_Enable"
Values = dict[str, int]
"""Of one register, by the motor's name."""


class ServoBus:
    """`bus` is the library's SerialMotorsBus; errors begin with `where`."""

    def __init__(self, bus: Any, where: str) -> None:
        self.bus, self.where = bus, where
        self.names: tuple[str, ...] = tuple(bus.motors)

    def open(self) -> None:
        """Open the port, for this program alone. Raises RobotError."""
        self.close()
        try:
            self.bus.connect(handshake=False)
        except Exception as error:
            cause = error.__cause__ or error
            raise RobotError(f"{self.where}: {cause}") from error
        serial = self.bus.port_handler.ser
        serial.exclusive = True  # two programs on one bus read each other's answers
        serial.timeout = POLL_S

    def close(self) -> None:
        """Close the port; the torque stays as it is. Never raises."""
        port = self.bus.port_handler
        port.is_using = False
        with suppress(Exception):
            if port.is_open:
                port.closePort()
        port.is_open = False

    def flush(self) -> None:
        """Discard what is queued at the port, in both directions."""
        port = self.bus.port_handler
        port.is_using = False  # an exchange that raised has left it set
        if port.is_open:
            port.ser.reset_input_buffer()
            port.ser.reset_output_buffer()

    def discard_old(self) -> None:
        """An answer that came after its time would be taken for the next one."""
        port = self.bus.port_handler
        if port.is_open and port.getBytesAvailable():
            port.ser.reset_input_buffer()

    def read(self, register: str, names: list[str] | None = None) -> Values:
        """Of the motors `names`, or of all."""
        self.discard_old()
        names = list(self.names) if names is None else names
        try:
            found = self.bus.sync_read(register, names, normalize=False, num_retry=RETRIES)
        except NotImplementedError:  # Feetech's protocol 1 reads one motor at a time
            found = {
                name: self.bus.read(register, name, normalize=False, num_retry=RETRIES)
                for name in names
            }
        return {name: int(found[name]) for name in names}

    def write(self, register: str, name: str, value: int) -> None:
        # An answer that carries an error bit is an answer: RuntimeError.
        with suppress(RuntimeError):
            self.bus.write(register, name, value, normalize=False, num_retry=RETRIES)
        self.confirm(register, {name: value})

    def confirm(self, register: str, values: Values) -> None:
        """Raises RobotError when a motor has another value than `values`."""
        found = self.read(register, list(values))
        if found != values:
            wrong = [f"{n}: {found[n]}, not {v}" for n, v in values.items() if found[n] != v]
            raise RobotError(
                f"{self.where}: {register} did not take what was written: {'; '.join(wrong)}"
            )

    def has(self, register: str, name: str = "") -> bool:
        """Whether the motor `name`, or else each motor, has it."""
        names = (name,) if name else self.names
        return all(register in self._table(each) for each in names)

    def in_ram(self, register: str, name: str) -> bool:
        """Whether a motor takes it with its torque on. Registers below `Torque_Enable` are EPROM in
        all of the library's serial families (Feetech STS, SMS and SCS, Dynamixel X):
        https://emanual.robotis.com/docs/en/dxl/x/xl330-m288/ and https://www.feetechrc.com."""
        table = self._table(name)
        return bool(table[register][0] >= table[TORQUE][0])

    def tolerant(self) -> Any:
        """The bus, but an answer that carries an error bit is an answer: the bits are looked at in
        one place."""
        twin = copy.copy(self.bus)
        twin.read = lambda register, name, **_: self.read(register, [name])[name]
        return twin

    def _table(self, name: str) -> dict[str, tuple[int, int]]:
        table: dict[str, tuple[int, int]] = self.bus.model_ctrl_table[self.bus.motors[name].model]
        return table
