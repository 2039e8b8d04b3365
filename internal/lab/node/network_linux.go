package node

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

var mask = [4]byte{255, 255, 0, 0}

// connect makes the network inside.
func connect() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return fmt.Errorf("make the node's network: %w", err)
	}
	defer func() { _ = unix.Close(socket) }()
	if err := errors.Join(
		up(socket, "lo"),
		addBridge(socket),
		// A Pod's traffic goes from one device to another.
		os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1\n"), 0o644),
	); err != nil {
		return fmt.Errorf("make the node's network: %w", err)
	}
	return nil
}

func addBridge(socket int) error {
	name, err := unix.BytePtrFromString(bridge)
	if err != nil {
		return err
	}
	if err := ioctl(socket, unix.SIOCBRADDBR, unsafe.Pointer(name)); err != nil {
		return fmt.Errorf("add the bridge: %w", err)
	}
	ip := netip.MustParseAddr(address).As4()
	if err := setAddress(socket, unix.SIOCSIFADDR, ip); err != nil {
		return err
	}
	if err := setAddress(socket, unix.SIOCSIFNETMASK, mask); err != nil {
		return err
	}
	if err := up(socket, bridge); err != nil {
		return err
	}
	return defaultRoute(socket)
}

func setAddress(socket int, request uint, ip [4]byte) error {
	device, err := unix.NewIfreq(bridge)
	if err != nil {
		return err
	}
	if err := device.SetInet4Addr(ip[:]); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(socket, request, device); err != nil {
		return fmt.Errorf("set the address of %s: %w", bridge, err)
	}
	return nil
}

func up(socket int, name string) error {
	device, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	device.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, device); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}

// route is the kernel's struct rtentry.
type route struct {
	_                        uintptr
	target, gateway, genmask unix.RawSockaddrInet4
	flags                    uint16
	_                        int16
	_, _                     uintptr
	metric                   int16
	device                   *byte
	mtu, window              uintptr
	irtt                     uint16
}

// defaultRoute leads everything to the bridge: without a route, a connection to
// a Service's address ends before it becomes one to a Pod's.
func defaultRoute(socket int) error {
	device, err := unix.BytePtrFromString(bridge)
	if err != nil {
		return err
	}
	everywhere := unix.RawSockaddrInet4{Family: unix.AF_INET}
	r := route{target: everywhere, gateway: everywhere, genmask: everywhere, flags: unix.RTF_UP, device: device}
	if err := ioctl(socket, unix.SIOCADDRT, unsafe.Pointer(&r)); err != nil {
		return fmt.Errorf("add the default route: %w", err)
	}
	return nil
}

func ioctl(socket int, request uintptr, argument unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(socket), request, uintptr(argument)); errno != 0 {
		return errno
	}
	return nil
}
